"""The resources as people write them: models, names, hashes, CRDs."""
