/**
 * The token of a grant: above the last one of the bucket and above the record's own, and the time in microseconds where that is higher,
 * since a server that was restored may have forgotten what it gave out. It is not kept yet: a script learns what is wrong
 * before it writes.
 */
export const TOKEN_LUA = `
local function nextToken(key, above)
  local last = redis.pcall('GET', key)
  if type(last) == 'table' then return nil, 'its fencing counter is no text' end
  if last and (#last > 16 or not string.find(last, '^%d+$')) then return nil, 'its fencing counter is no number' end
  local token = math.max(us, (last or 0) + 1, above + 1)
  if token > MOST then return nil, 'its fencing counter has run out' end
  return str(token)
end
`;
