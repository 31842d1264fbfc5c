package ops

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/audit"
	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/rest"
)

// Switch is something that an operator may switch on for a while: a degradation that costs some callers something and
// keeps the rest going.
type Switch struct {
	Title string // what it does, for who is about to do it
	Turn  func(on bool)
}

// SwitchState is a switch as it stands.
type SwitchState struct {
	Name      string     `json:"name"`
	Title     string     `json:"title" doc:"What it does while it is on"`
	On        bool       `json:"on"`
	ChangedBy string     `json:"changedBy,omitempty"`
	ChangedAt *time.Time `json:"changedAt,omitempty"`
}

// SwitchList is all of them.
type SwitchList struct {
	Items []SwitchState `json:"items"`
}

type switchInput struct {
	Name string `path:"name" maxLength:"64"`
	Body struct {
		On bool `json:"on"`
	}
}

const (
	switchesSQL = `/* Ops.Switches */ SELECT name, is_on, changed_by, changed_at FROM ops_switches`
	setSQL      = `/* Ops.SetSwitch */
INSERT INTO ops_switches (name, is_on, changed_by) VALUES ($1, $2, left($3, 255))
ON CONFLICT (name) DO UPDATE SET is_on = $2, changed_by = left($3, 255), changed_at = now()
RETURNING name, is_on, changed_by, changed_at`

	// follow is how long it takes at most until every process does as it is switched.
	follow = 3 * time.Second
)

func (o *Ops) switches(ctx context.Context, _ *struct{}) (rest.Answer, error) {
	states, err := o.read(ctx)
	if err != nil {
		return rest.Answer{}, err
	}
	answer, err := rest.JSON(http.StatusOK, SwitchList{states})
	answer.CacheControl = "no-store"
	return answer, err
}

// read is how all switches stand, in the order of their names.
func (o *Ops) read(ctx context.Context) (list []SwitchState, err error) {
	stored := make(map[string]SwitchState)
	err = o.Pools.Background.Do(ctx, func(conn *pgx.Conn) error {
		rows, err := conn.Query(ctx, switchesSQL)
		if err != nil {
			return err
		}
		all, err := pgx.CollectRows(rows, scanSwitch)
		for _, s := range all {
			stored[s.Name] = s
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the switches: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Switches)) {
		s := stored[name]
		s.Name, s.Title = name, o.Switches[name].Title
		list = append(list, s)
	}
	return list, nil
}

func scanSwitch(row pgx.CollectableRow) (s SwitchState, err error) {
	var at time.Time
	err = row.Scan(&s.Name, &s.On, &s.ChangedBy, &at)
	at = at.UTC()
	s.ChangedAt = &at
	return s, err
}

// set turns a switch, here at once and elsewhere within follow.
func (o *Ops) set(ctx context.Context, name string, on bool, who string, key idempotency.Request) (rest.Answer, error) {
	answer, err := o.Keys.Do(ctx, key, func(ctx context.Context, tx pgx.Tx) (rest.Answer, error) {
		if _, ok := o.Switches[name]; !ok {
			return o.API.Refuse(ctx, rest.NewProblem(rest.NotFound, "There is no such switch.")), nil
		}
		rows, err := tx.Query(ctx, setSQL, name, on, who)
		if err != nil {
			return rest.Answer{}, err
		}
		s, err := pgx.CollectExactlyOneRow(rows, scanSwitch)
		if err != nil {
			return rest.Answer{}, fmt.Errorf("setting a switch: %w", err)
		}
		if err := audit.Write(ctx, tx, audit.Entry{Action: audit.SwitchTurned, Target: name, Details: map[string]any{"on": on}}); err != nil {
			return rest.Answer{}, err
		}
		s.Title = o.Switches[name].Title
		return rest.JSON(http.StatusOK, s)
	})
	if err == nil && answer.Status == http.StatusOK && !answer.Replayed {
		o.turning.Lock()
		o.turned++
		o.turn(name, on)
		o.turning.Unlock()
		o.Logger.WarnContext(ctx, "an operator has turned a switch", "name", name, "on", on, "who", key.Caller)
	}
	return answer, err
}

// Follow does as the switches stand, until ctx ends. While the database is away all stay as they are.
func (o *Ops) Follow(ctx context.Context) {
	for {
		_ = o.Look(ctx) // the next one may do better
		select {
		case <-time.After(follow):
		case <-ctx.Done():
			return
		}
	}
}

// Look does as the switches stand now: before the first request too, so that a process which starts while one is on begins
// with it. A database that doesn't answer is given up on soon: the next look may find another.
func (o *Ops) Look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, follow)
	defer cancel()
	o.turning.Lock()
	before := o.turned
	o.turning.Unlock()
	states, err := background.Catch("switches", func() ([]SwitchState, error) { return o.read(ctx) })()
	if err != nil {
		return err
	}
	o.turning.Lock()
	defer o.turning.Unlock()
	if o.turned != before {
		return nil // somebody has turned one here meanwhile: what was read may be older
	}
	for _, s := range states {
		o.turn(s.Name, s.On)
	}
	return nil
}

// turn does what a switch does, and remembers it for the gauge.
func (o *Ops) turn(name string, on bool) {
	o.on[name].Store(on)
	o.Switches[name].Turn(on)
}

// watch shows what waits for an operator, dead_letters, and what one has turned: switch_on. It looks when metrics are read.
func (o *Ops) watch() error {
	_, err := otel.Meter("ops").Int64ObservableGauge("switch_on",
		metric.WithDescription("1 while a switch is on in this process, else 0, by switch."),
		metric.WithInt64Callback(func(_ context.Context, out metric.Int64Observer) error {
			for name, on := range o.on {
				value := int64(0)
				if on.Load() {
					value = 1
				}
				out.Observe(value, metric.WithAttributes(attribute.String("switch", name)))
			}
			return nil
		}))
	if err != nil {
		return fmt.Errorf("making switch_on: %w", err)
	}
	const sql = `/* Ops.Watch */ SELECT count(*) FROM dead_letters WHERE redriven_at IS NULL AND discarded_at IS NULL`
	_, err = otel.Meter("ops").Int64ObservableGauge("dead_letters",
		metric.WithDescription("Messages that the broker gave up on and nobody has sent again."),
		metric.WithInt64Callback(func(ctx context.Context, out metric.Int64Observer) error {
			var waiting int64
			err := o.Pools.Background.Do(ctx, func(conn *pgx.Conn) error { return conn.QueryRow(ctx, sql).Scan(&waiting) })
			if err != nil {
				return fmt.Errorf("counting dead letters: %w", err)
			}
			out.Observe(waiting)
			return nil
		}))
	if err != nil {
		return fmt.Errorf("making dead_letters: %w", err)
	}
	return nil
}
