package secrets

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/company/order-catalog-service/shared/background"
)

const (
	// roundTime bounds one look at all secrets.
	roundTime = 30 * time.Second
	// leastPause is between two looks, however often somebody asks for one.
	leastPause = 5 * time.Second
)

// Options say where the secrets are.
type Options struct {
	URL        string // of the vault
	Credential azcore.TokenCredential
	Names      []string // the secrets to read
	// Fallback are the environment's values, newest first, of secrets that the vault does not have.
	Fallback map[string][]string
	Every    time.Duration // between two looks at the vault
	Wait     time.Duration // how long Open tries
	Logger   *slog.Logger
	// Transport carries the requests; nil is the SDK's own.
	Transport policy.Transporter
	// Now is the clock that versions' ages are told by; nil is the system's.
	Now func() time.Time
}

// Open reads the secrets from the vault. It tries for a while, as a vault may be busy or a network slow to come up, and
// fails at once when the vault says no.
func Open(ctx context.Context, o Options) (*Store, error) {
	v, err := newVault(o.URL, o.Credential, o.Transport)
	if err != nil {
		return nil, err
	}
	m, err := newMetrics()
	if err != nil {
		return nil, err
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Store{
		vault: v, names: o.Names, fallback: o.Fallback, every: o.Every, logger: o.Logger, now: o.Now, metrics: m, hurry: make(chan struct{}, 1),
	}
	s.versions.Store(&map[string][]Version{})
	ctx, cancel := context.WithTimeout(ctx, o.Wait)
	defer cancel()
	var last error
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := s.round(ctx)
		if err == nil {
			return s, nil
		}
		if errors.Is(err, ErrRefused) || errors.Is(err, errMissing) {
			return nil, err
		}
		if last == nil || ctx.Err() == nil { // that time ran out says less than what was in the way before
			last = err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("the secrets could not be read within %s: %w", o.Wait, last)
		case <-time.After(pause):
		}
	}
}

var errMissing = errors.New("is in neither")

// round looks at all secrets once. What can't be read stays as it is.
func (s *Store) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundTime)
	defer cancel()
	before := *s.versions.Load()
	lists, errs := make([][]Version, len(s.names)), make([]error, len(s.names))
	var all background.Group
	for i, name := range s.names {
		errs[i] = errors.New("reading " + name + " ended in a panic") // unless it ends otherwise
		all.Go("reading secrets", func() error {
			lists[i], errs[i] = s.read(ctx, name, before[name])
			return nil
		})
	}
	_ = all.Wait() // each has its own error
	after := maps.Clone(before)
	for i, name := range s.names {
		if errs[i] == nil {
			after[name] = lists[i]
		}
	}
	s.versions.Store(&after)
	s.tell()
	err := errors.Join(errs...)
	s.metrics.looked(ctx, err)
	return err
}

// read is the versions of one secret: the vault's, else the environment's.
func (s *Store) read(ctx context.Context, name string, known []Version) ([]Version, error) {
	list, err := s.vault.read(ctx, name, versionsOf(name), known)
	if err != nil || len(list) > 0 {
		return list, err
	}
	if values := asVersions(s.fallback[name]); len(values) > 0 {
		return values, nil
	}
	if name == Redis {
		return nil, nil // a Redis without a password has none
	}
	return nil, fmt.Errorf("%s %w the vault %s, as an enabled version, nor the environment", name, errMissing, s.vault.host)
}

// Run looks at the vault again and again until ctx ends, each process at moments of its own. A vault that can't be
// asked costs a warning: the values stay.
func (s *Store) Run(ctx context.Context) {
	if s.vault == nil {
		return
	}
	for {
		timer := time.NewTimer(s.every*4/5 + rand.N(s.every*2/5)) //nolint:gosec // spreads load, hides nothing
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.hurry:
			timer.Stop()
		case <-timer.C:
		}
		if err := s.round(ctx); err != nil && ctx.Err() == nil {
			s.logger.WarnContext(ctx, "secrets could not be refreshed: the old values stay", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(min(leastPause, s.every)):
		}
	}
}

// Hurry asks for a look at the vault before its time: a server refused our password, or something was sealed under a
// key that is not known here. It does not wait.
func (s *Store) Hurry() {
	select {
	case s.hurry <- struct{}{}:
	default: // somebody did already
	}
}

type metrics struct{ looks metric.Int64Counter }

func newMetrics() (m metrics, err error) {
	m.looks, err = otel.Meter("secrets").Int64Counter("secrets_refreshes_total",
		metric.WithDescription("Looks at the vault, by result."))
	if err != nil {
		return m, fmt.Errorf("making secrets_refreshes_total: %w", err)
	}
	return m, nil
}

func (m metrics) looked(ctx context.Context, err error) {
	result := "success"
	if err != nil {
		result = "failure"
	}
	m.looks.Add(ctx, 1, metric.WithAttributes(attribute.String("result", result)))
}
