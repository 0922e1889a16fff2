"""What platform teams watch with: alerting rules and dashboards, made of data. Pure.

Everything here is about series that the operator or a model server really exports; a test holds
every name against them.
"""
