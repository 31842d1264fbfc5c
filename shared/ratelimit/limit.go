package ratelimit

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	sharedredis "github.com/company/order-catalog-service/shared/redis"
)

// maxPolicies is how many policies a class can have.
const maxPolicies = 4

// WhenAway says how much of a quota one process admits while Redis does not answer.
type WhenAway uint8

const (
	// Open admits the whole quota in each process.
	Open WhenAway = iota
	// Share admits the quota divided by the number of processes.
	Share
	// Closed admits nothing: what may never exceed its quota, even for the price of not being there.
	Closed
)

// ParseWhenAway reads what each of some classes does while Redis is away: "checkout=open,browse=share", a class that is not
// named as it was before.
func ParseWhenAway(text string, classes map[string]WhenAway) error {
	if text == "" {
		return nil
	}
	ways := map[string]WhenAway{"open": Open, "share": Share, "closed": Closed}
	for item := range strings.SplitSeq(text, ",") {
		class, way, _ := strings.Cut(strings.TrimSpace(item), "=")
		if _, known := classes[class]; !known {
			return errWhenAway
		}
		w, known := ways[way]
		if !known {
			return errWhenAway
		}
		classes[class] = w
	}
	return nil
}

var errWhenAway = errors.New("must name classes and what they do, with commas: checkout, browse or rest, = and open, share or closed")

// shut tells whether calls are refused now that Redis does not answer. Where there is none at all it can't be away.
func (l *Limit) shut() bool { return l.WhenAway == Closed && l.Lane != nil }

// Options are what a Limit is made of.
type Options struct {
	Class    string // in metrics
	Policies []Policy
	// Lane is the way to Redis; nil counts in this process only.
	Lane *sharedredis.Lane
	// Leased says that calls without a key are charged to this limit too.
	Leased bool
	// Processes is how many of them there are, as far as anybody knows: what Share divides by.
	Processes int
	WhenAway  WhenAway
	Now       func() time.Time // nil: the clock
}

// Limit is what each caller may do in one class of calls. A nil Limit allows everything.
type Limit struct {
	Options
	quotas, replays []window
	header          string
	credit          int           // calls that a process lets a caller make before it asks Redis; also a lease's size
	shortest        time.Duration // slot: what a lease lives
	longest         time.Duration // that any call counts
	callers         callers
	metrics         metrics
}

// New makes a Limit; nil when there are no policies.
func New(o Options) (*Limit, error) {
	if len(o.Policies) == 0 {
		return nil, nil //nolint:nilnil // no limit is a Limit that allows everything
	}
	if len(o.Policies) > maxPolicies {
		return nil, fmt.Errorf("%d rate limits for %s, at most %d are possible", len(o.Policies), o.Class, maxPolicies)
	}
	m, err := newMetrics(o.Class)
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	l := &Limit{Options: o, metrics: m, credit: maxQuota, shortest: 24 * time.Hour}
	for _, p := range o.Policies {
		w := newWindow(p, o.Leased)
		l.quotas, l.replays = append(l.quotas, w), append(l.replays, newWindow(p.replays(), false))
		l.credit = min(l.credit, max(1, p.Quota/creditPart))
		l.shortest = min(l.shortest, w.slot)
		l.longest = max(l.longest, w.slot*time.Duration(w.slots))
	}
	l.header = header(append(l.quotas[:len(l.quotas):len(l.quotas)], l.replays...))
	return l, nil
}

// local is how much of a quota this process admits by itself.
func (l *Limit) local(w *window) int {
	if l.WhenAway == Open || l.Processes <= 1 {
		return w.Quota
	}
	return (w.Quota + l.Processes - 1) / l.Processes
}

// Open begins the bill of one call.
func (l *Limit) Open(caller uuid.UUID) *Charge {
	if l == nil {
		return nil
	}
	return &Charge{limit: l, caller: caller}
}

// tag begins every key of a caller: what is between the braces decides where they are in a cluster.
func tag(caller uuid.UUID) string {
	var b [1 + 2*len(caller)]byte
	b[0] = '{'
	hex.Encode(b[1:], caller[:])
	return string(b[:])
}

type metrics struct {
	refused, alone         metric.Int64Counter
	calls, repeats, nobody metric.MeasurementOption
}

func newMetrics(class string) (m metrics, err error) {
	meter := otel.Meter("ratelimit")
	var errs [2]error
	m.refused, errs[0] = meter.Int64Counter("rate_limit_refused_total",
		metric.WithDescription("Calls refused, by class and by the budget that was used up: quota or replays."))
	m.alone, errs[1] = meter.Int64Counter("rate_limit_local_total",
		metric.WithDescription("Calls that a process decided by itself because Redis did not answer, by class."))
	if err := errors.Join(errs[:]...); err != nil {
		return m, fmt.Errorf("making the rate limit metrics: %w", err)
	}
	of := attribute.String("class", class)
	m.calls = metric.WithAttributeSet(attribute.NewSet(of, attribute.String("budget", "quota")))
	m.repeats = metric.WithAttributeSet(attribute.NewSet(of, attribute.String("budget", "replays")))
	m.nobody = metric.WithAttributeSet(attribute.NewSet(of))
	// A counter that was never added to is not shown; these are looked at before they count anything.
	m.refused.Add(context.Background(), 0, m.calls)
	m.alone.Add(context.Background(), 0, m.nobody)
	return m, nil
}
