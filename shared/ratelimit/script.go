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
// A window is a string of at most 44 bytes, which Redis keeps in one piece with its header: the number of its newest
// slot in five bytes, all that is used in three, then a count of three bytes for each slot, newest first. The sum is
// there so that a call reads the slots that fall out, and not all. Time is the server's own, so that no process's clock
// matters. When it jumps back, calls go on in the newest slot until the key's life ends.
const Script = `
local byte, char, rep, sub, find, floor = string.byte, string.char, string.rep, string.sub, string.find, math.floor

local function charge(key, arg, n, units)
  local time = redis.call('TIME')
  local now = time[1] * 1000 + floor(time[2] / 1000)
  local newest, counts, sums, standings = {}, {}, {}, ''
  for w = 1, n do
    local at = arg + 3 * (w - 1)
    local width, slots = ARGV[at + 1] + 0, ARGV[at + 2] + 0
    local slot, used, list = floor(now / width), 0, nil
    local kept = redis.call('GET', KEYS[key + w - 1])
    if kept and #kept == 8 + 3 * slots then
      local a, b, c, d, e, x, y, z = byte(kept, 1, 8)
      local last = (((a * 256 + b) * 256 + c) * 256 + d) * 256 + e
      local moved = slot - last
      if moved <= 0 then
        slot, used, list = last, x * 65536 + y * 256 + z, sub(kept, 9)
      elseif moved < slots then
        local stay = 8 + 3 * (slots - moved)
        used = x * 65536 + y * 256 + z
        for i = stay + 1, #kept, 3 do
          local x, y, z = byte(kept, i, i + 2)
          used = used - x * 65536 - y * 256 - z
        end
        list = rep('\0', 3 * moved) .. sub(kept, 9, stay)
      end
    end
    newest[w], counts[w], sums[w] = slot, list or rep('\0', 3 * slots), used
    if ARGV[at] - used < units then units = ARGV[at] - used end
  end
  if units < 0 then units = 0 end
  for w = 1, n do
    local at = arg + 3 * (w - 1)
    local width, slots, slot, list, used = ARGV[at + 1] + 0, ARGV[at + 2] + 0, newest[w], counts[w], sums[w] + units
    if units > 0 then
      local x, y, z = byte(list, 1, 3)
      local c, high = x * 65536 + y * 256 + z + units, floor(slot / 65536)
      list = char(floor(c / 65536), floor(c / 256) % 256, c % 256) .. sub(list, 4)
      redis.call('SET', KEYS[key + w - 1],
        char(floor(high / 65536), floor(high / 256) % 256, high % 256, floor(slot / 256) % 256, slot % 256,
          floor(used / 65536), floor(used / 256) % 256, used % 256) .. list, 'PX', (slots + 1) * width)
    end
    local oldest = floor((find(list, '%z*$') - 2) / 3)
    if oldest < 0 then oldest = 0 end
    standings = standings .. (w > 1 and ' ' or '') .. ARGV[at] - used .. ' ' .. (slot - oldest + slots) * width - now
  end
  return units, standings
end
`

// takeScript counts and does nothing else. KEYS are the windows, ARGV the units and each window's three numbers.
const takeScript = Script + `
local granted, standings = charge(1, 2, #KEYS, tonumber(ARGV[1]))
return granted .. ' ' .. standings`
