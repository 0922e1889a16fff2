"""The handoff README: the whole resource as one document for people, generated from it.

Use::

    text = to_markdown(compose_readme(Subject(name, namespace, spec, annotations)))

Pure: no clock, no network. The same resource gives the same bytes.
"""

from modelhandoff.report.readme.compose import LEFT_OUT, SECTIONS, compose_readme
from modelhandoff.report.readme.subject import PURPOSE, Outlook, Subject

__all__ = ["LEFT_OUT", "PURPOSE", "SECTIONS", "Outlook", "Subject", "compose_readme"]
