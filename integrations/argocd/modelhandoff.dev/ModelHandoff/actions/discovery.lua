-- Offers what `kubectl handoff` would do now; the rest is shown and cannot be clicked.
local actions = {}
local status = obj.status or {}
local annotations = obj.metadata.annotations or {}
local attempt = nil
if status.attemptRef ~= nil then
  attempt = status.attemptRef.name
end
local ended = {
  Promoted = true,
  RolledBack = true,
  Rejected = true,
  Inconclusive = true,
  Aborted = true,
  Superseded = true,
  FallenBack = true,
}
local there = attempt ~= nil and obj.metadata.deletionTimestamp == nil
local running = there and not ended[status.phase]
local suspended = obj.spec ~= nil and obj.spec.suspend == true
local paused = annotations["modelhandoff.dev/pause"] ~= nil
local fails = false
for _, metric in ipairs(status.metrics or {}) do
  if metric.state == "Fail" then
    fails = true
  end
end
local final = status.verdict ~= nil and status.verdict.reason == "ApprovalRejected"

local pausable = running and not suspended and annotations["modelhandoff.dev/pause"] ~= attempt
actions["pause"] = {
  disabled = not pausable,
  displayName = "Pause: hold the weight; harm is still acted on",
  iconClass = "fa fa-fw fa-pause",
}
actions["resume"] = {
  disabled = not (there and paused and not suspended),
  displayName = "Resume",
  iconClass = "fa fa-fw fa-play",
}
actions["abort"] = {
  disabled = not running,
  displayName = "Abort: weight 0 at once",
  iconClass = "fa fa-fw fa-stop",
}
actions["retry"] = {
  disabled = not (there and ended[status.phase] and status.phase ~= "Promoted" and not final
    and annotations["modelhandoff.dev/retry"] ~= attempt),
  displayName = "Retry: a new attempt of the same candidate",
  iconClass = "fa fa-fw fa-redo",
}
actions["promote"] = {
  disabled = not (running and status.phase == "Progressing" and not fails),
  displayName = "Promote: give it all traffic",
  iconClass = "fa fa-fw fa-forward",
}
return actions
