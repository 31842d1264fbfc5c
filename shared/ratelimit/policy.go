package ratelimit

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Policy allows a caller quota calls in any stretch of time as long as Window.
type Policy struct {
	Name   string
	Quota  int
	Window time.Duration
}

const (
	// parts is how many slots a window is cut into: what was used comes back at most a tenth of the window late.
	parts = 10
	// maxQuota is what a slot's count can hold.
	maxQuota = 1<<24 - 1
	// replayFactor is how many repeats of answered keys a caller has for each call of the quota.
	replayFactor = 10
)

// errPolicy is what Parse tells: settings are never quoted in errors.
var errPolicy = errors.New("must be off, or up to four of the form 100/1m, with commas: calls per window of whole seconds, up to 16777215 in up to 24h")

// Parse reads what a class of calls may do: "100/1m", several of these separated by commas, or "off" or "0" for no
// limit, which is an empty list.
func Parse(class, text string) ([]Policy, error) {
	if text == "off" || text == "0" {
		return nil, nil
	}
	items := strings.Split(text, ",")
	if len(items) > maxPolicies {
		return nil, errPolicy
	}
	list := make([]Policy, len(items))
	for i, item := range items {
		quota, window, _ := strings.Cut(strings.TrimSpace(item), "/")
		q, err := strconv.Atoi(quota)
		if err != nil || q < 1 || q > maxQuota {
			return nil, errPolicy
		}
		w, err := time.ParseDuration(window)
		if err != nil || w < time.Second || w > 24*time.Hour || w%time.Second != 0 {
			return nil, errPolicy
		}
		list[i] = Policy{Name: class, Quota: q, Window: w}
		if len(items) > 1 {
			list[i].Name = fmt.Sprintf("%s-%ds", class, int(w.Seconds()))
		}
	}
	return list, nil
}

// window is a policy with what counting needs.
type window struct {
	Policy
	slot   time.Duration
	slots  int    // how many slots count, with the current one
	suffix string // of the key in Redis
	args   [3]any // quota, slot in milliseconds, slots: as the script gets them
}

// newWindow counts a call for at least the policy's window. The oldest slot is only partly inside of the window and
// counts whole: weighing it by the part that is inside would let a burst at its end be followed by nearly a second
// one. leased windows are used up to a slot later than they are counted, so there it is one slot more.
func newWindow(p Policy, leased bool) window {
	w := window{Policy: p, slot: p.Window / parts, slots: parts + 1}
	if leased {
		w.slots++
	}
	w.suffix = "}:rate:" + p.Name + ":" + strconv.Itoa(int(p.Window.Seconds()))
	w.args = [3]any{strconv.Itoa(p.Quota), strconv.FormatInt(w.slot.Milliseconds(), 10), strconv.Itoa(w.slots)}
	return w
}

// replays is the budget of repeats beside a policy.
func (p Policy) replays() Policy {
	return Policy{Name: p.Name + "-replays", Quota: min(replayFactor*p.Quota, maxQuota), Window: p.Window}
}

// header is the policies as the field RateLimit-Policy shows them.
func header(list []window) string {
	var b strings.Builder
	for i, w := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, `"%s";q=%d;w=%d`, w.Name, w.Quota, int(w.Window.Seconds()))
	}
	return b.String()
}
