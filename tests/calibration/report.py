def write(found, output):
    pass
