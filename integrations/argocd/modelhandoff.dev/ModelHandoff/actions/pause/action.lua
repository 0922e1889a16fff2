-- The same annotation as `kubectl handoff pause`. It names the attempt it is meant for, so that one
-- that comes too late does nothing.
if obj.status == nil or obj.status.attemptRef == nil then
  return obj
end
if obj.metadata.annotations == nil then
  obj.metadata.annotations = {}
end
obj.metadata.annotations["modelhandoff.dev/pause"] = obj.status.attemptRef.name
return obj
