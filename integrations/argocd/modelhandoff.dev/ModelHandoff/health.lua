-- Follows the operator's own conditions, which are those of kstatus: Ready, Reconciling, Stalled.
-- Needs no library of Lua: Argo CD offers none by default.
local hs = {status = "Progressing", message = "Waiting for the operator to look at it"}
local status = obj.status

if obj.metadata.deletionTimestamp ~= nil then
  hs.message = "Traffic is put back on the stable version before it is deleted"
  return hs
end
-- A status about an earlier spec says nothing about this one.
if status == nil or status.conditions == nil or status.observedGeneration ~= obj.metadata.generation then
  return hs
end

local is = {}
for _, condition in ipairs(status.conditions) do
  is[condition.type] = condition.status
end
if status.message ~= nil and status.message ~= "" then
  hs.message = status.message
end

if is.Ready == "True" then
  hs.status = "Healthy"
elseif is.Stalled == "True" then
  hs.status = "Degraded"
  if status.nextAction ~= nil and status.nextAction ~= "" then
    hs.message = hs.message .. " Next: " .. status.nextAction
  end
elseif is.Paused == "True" or status.phase == "AwaitingApproval" then
  hs.status = "Suspended"
end
return hs
