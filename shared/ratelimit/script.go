package ratelimit

// Script is the Lua that counts, for scripts that count and do something else in the same round trip. It defines
//
//	charge(key, arg, n, units) -> granted, standings
//
// for the n windows whose keys are KEYS[key], KEYS[key+1]... and whose quota, slot and number of slots are ARGV[arg],
// ARGV[arg+1], ARGV[arg+2] and so on. It counts up to units, what there is room for in every window, and returns how
// many; when one window has no room, none of them counts anything. standings is "remaining milliseconds" of each
// window, separated by blanks: what is left, and until when more comes back.
//
// A window is a string of at most 41 bytes: the number of its newest slot, then a count of three bytes for each slot,
// newest first. Time is the server's own, so that no process's clock matters. When it jumps back, calls go on in the
// newest slot until the key's life ends.
const Script = `
local byte, char, rep, sub, floor = string.byte, string.char, string.rep, string.sub, math.floor

local function number(s, from, to)
  local n = 0
  for i = from, to do n = n * 256 + byte(s, i) end
  return n
end

local function charge(key, arg, n, units)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + floor(time[2] / 1000)
  local newest, counts, left, back = {}, {}, {}, {}
  for w = 1, n do
    local at = arg + 3 * (w - 1)
    local quota, width, slots = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
    local slot, used, oldest = floor(now / width), 0, 0
    local kept, list = redis.call('GET', KEYS[key + w - 1]), nil
    if kept and #kept == 5 + 3 * slots then
      local last = number(kept, 1, 5)
      local moved = slot - last
      if moved <= 0 then
        slot, list = last, sub(kept, 6)
      elseif moved < slots then
        list = rep('\0', 3 * moved) .. sub(kept, 6, 5 + 3 * (slots - moved))
      end
    end
    if list then
      local b = {byte(list, 1, -1)}
      for i = 1, 3 * slots, 3 do
        local c = b[i] * 65536 + b[i + 1] * 256 + b[i + 2]
        if c > 0 then used, oldest = used + c, (i - 1) / 3 end
      end
    else
      list = rep('\0', 3 * slots)
    end
    newest[w], counts[w], left[w] = slot, list, quota - used
    back[w] = (slot - oldest + slots) * width - now
    if quota - used < units then units = quota - used end
  end
  if units < 0 then units = 0 end
  local standings = ''
  for w = 1, n do
    if units > 0 then
      local at = arg + 3 * (w - 1)
      local width, slots = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2])
      local slot, c = newest[w], number(counts[w], 1, 3) + units
      redis.call('SET', KEYS[key + w - 1],
        char(floor(slot / 4294967296) % 256, floor(slot / 16777216) % 256, floor(slot / 65536) % 256, floor(slot / 256) % 256, slot % 256,
          floor(c / 65536), floor(c / 256) % 256, c % 256) .. sub(counts[w], 4), 'PX', (slots + 1) * width)
      left[w] = left[w] - units
    end
    standings = standings .. (w > 1 and ' ' or '') .. left[w] .. ' ' .. back[w]
  end
  return units, standings
end
`

// takeScript counts and does nothing else. KEYS are the windows, ARGV the units and each window's three numbers.
const takeScript = Script + `
local granted, standings = charge(1, 2, #KEYS, tonumber(ARGV[1]))
return granted .. ' ' .. standings`
