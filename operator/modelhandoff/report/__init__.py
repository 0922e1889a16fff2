"""The decision report: evidence rendered for people, as Markdown or one self-contained HTML file.

Use::

    report = compose(read(objects))     # objects: parsed YAML of `kubectl get ... -o yaml`
    text = to_html(report)              # or to_markdown(report)

Pure: no clock, no network, no files. The same objects give the same bytes.
"""

from modelhandoff.report.compose import compose
from modelhandoff.report.document import Report
from modelhandoff.report.export import Export, read
from modelhandoff.report.markdown import to_markdown
from modelhandoff.report.page import to_html

__all__ = ["Export", "Report", "compose", "read", "to_html", "to_markdown"]
