"""The judgement engine: closed intervals of counts in, evidence and a verdict out. Pure."""
