-- The same as `kubectl handoff resume`: takes the pause away.
if obj.metadata.annotations ~= nil then
  obj.metadata.annotations["modelhandoff.dev/pause"] = nil
end
return obj
