"""``kubectl handoff``: the people's side of a handoff, installed as ``kubectl-handoff``.

``entry`` (the boundary where errors become one line), ``app`` (the verbs), ``quick`` (a short way
for ``get``), ``kubeconfig`` and ``api`` (which cluster, one request per call), ``lookup`` (from a
name to objects), ``listing`` (get, history), ``view``, ``tree`` and ``screen`` (status), ``bars``,
``judged`` and ``explain``, ``waiting``, ``verbs``, ``heartbeat`` and ``fallback`` (abort without an
operator), ``lint``, ``doctor``, ``words`` (reasons and remedies). Nothing heavy is imported before
a verb needs it: ``get`` must start at once.
"""

from modelhandoff.cli.kubectl.completion import complete
from modelhandoff.cli.kubectl.entry import run

__all__ = ["complete", "run"]
