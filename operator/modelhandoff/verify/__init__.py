"""What runs inside a verification Job or an init container."""
