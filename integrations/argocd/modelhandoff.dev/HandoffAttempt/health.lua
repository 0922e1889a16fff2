-- One attempt of a handoff: the audit trail. What ended in order stays what it was.
local hs = {status = "Progressing", message = "Waiting for the operator to begin"}
local status = obj.status

if status == nil or status.phase == nil then
  return hs
end
hs.message = status.phase
if status.verdict ~= nil and status.verdict.message ~= nil then
  hs.message = status.verdict.message
end

local ended = {
  Promoted = "Healthy",
  Superseded = "Healthy",
  RolledBack = "Degraded",
  Rejected = "Degraded",
  Inconclusive = "Degraded",
  Aborted = "Degraded",
  FallenBack = "Degraded",
}
if ended[status.phase] ~= nil then
  hs.status = ended[status.phase]
elseif status.phase == "AwaitingApproval" or status.pausedAt ~= nil then
  hs.status = "Suspended"
end
return hs
