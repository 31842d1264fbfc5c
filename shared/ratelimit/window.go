package ratelimit

import "time"

// count is a window in this process: the same slots as in Redis, by this process's clock.
type count struct {
	newest int64
	slots  [parts + 2]int32 // newest first
}

// look moves the window to now and says how much of it is used, and how long until more comes back.
func (c *count) look(w *window, now time.Time) (used int, back time.Duration) {
	slot := now.UnixNano() / int64(w.slot)
	if moved := slot - c.newest; moved >= int64(w.slots) {
		*c = count{newest: slot}
	} else if moved > 0 {
		copy(c.slots[moved:w.slots], c.slots[:])
		clear(c.slots[:moved])
		c.newest = slot
	}
	oldest := 0
	for i := range w.slots {
		if n := c.slots[i]; n > 0 {
			used, oldest = used+int(n), i
		}
	}
	leaves := (c.newest - int64(oldest) + int64(w.slots)) * int64(w.slot)
	return used, time.Duration(leaves - now.UnixNano())
}

// charge counts calls in all of a caller's windows or in none.
func charge(counts []count, windows []window, calls int, quota func(*window) int, now time.Time) (standings [maxPolicies]Standing, granted bool) {
	granted = true
	for i := range windows {
		w := &windows[i]
		used, back := counts[i].look(w, now)
		standings[i] = Standing{Policy: w.Name, Remaining: max(0, quota(w)-used), Reset: back}
		granted = granted && standings[i].Remaining >= calls
	}
	if granted {
		for i := range windows {
			counts[i].slots[0] += int32(calls) //nolint:gosec // at most the quota, which fits
			standings[i].Remaining -= calls
		}
	}
	return standings, granted
}
