package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"go.opentelemetry.io/otel"

	"github.com/company/order-catalog-service/functions/carts"
	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/functions/graphql"
	"github.com/company/order-catalog-service/functions/health"
	"github.com/company/order-catalog-service/functions/ops"
	"github.com/company/order-catalog-service/functions/orders"
	"github.com/company/order-catalog-service/functions/webhooks"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/background"
	"github.com/company/order-catalog-service/shared/egress"
	"github.com/company/order-catalog-service/shared/idempotency"
	"github.com/company/order-catalog-service/shared/outbox"
	"github.com/company/order-catalog-service/shared/paging"
	"github.com/company/order-catalog-service/shared/postgres"
	sharedredis "github.com/company/order-catalog-service/shared/redis"
	"github.com/company/order-catalog-service/shared/resilience"
	"github.com/company/order-catalog-service/shared/resilience/dependency"
	"github.com/company/order-catalog-service/shared/rest"
	"github.com/company/order-catalog-service/shared/secretbox"
	"github.com/company/order-catalog-service/shared/secrets"
	"github.com/company/order-catalog-service/shared/servicebus"
	"github.com/company/order-catalog-service/shared/telemetry"
)

const (
	cartLife        = 30 * 24 * time.Hour
	triggerDeadline = 100 * time.Second // below host.json's functionTimeout of two minutes
	patience        = 2 * time.Second   // how long a request waits for a process that is just starting
)

// service is the process and what it is made of.
type service struct {
	config   config
	access   *access
	logger   *slog.Logger
	pools    *postgres.Pools
	redis    *redis.Client     // nil: none configured
	lane     *sharedredis.Lane // the way there for what each request asks of it; nil like redis
	verifier *auth.Verifier
	keys     *idempotency.Store
	cursors  *paging.Codec
	bus      *servicebus.Client
	drain    *outbox.Drain
	api      *rest.API
	catalog  *catalog.Catalog
	carts    *carts.Carts
	orders   *orders.Orders
	ops      *ops.Ops
	webhooks *webhooks.Webhooks
	probes   *health.Probes
	metrics  http.Handler
	// admission is what the edge asks first; an operator's switch reaches into it.
	admission *resilience.Limiter

	state   atomic.Value  // health.State
	started chan struct{} // closed when the schema is there
	closers []func()
}

// wire makes everything and connects to nothing.
func wire(ctx context.Context, c config, access *access, seen *telemetry.Telemetry) (*service, error) {
	logger := seen.Logger
	s := &service{config: c, access: access, logger: logger, metrics: seen.Page, started: make(chan struct{})}
	s.cursors = paging.NewCodec(access.store.Keys(secrets.JWTSigningKey)...)
	access.store.OnChange(func() {
		keys := access.store.Keys(secrets.JWTSigningKey)
		if slices.ContainsFunc(keys, func(k []byte) bool { return len(k) < secretbox.MinSecret }) {
			logger.Warn("a version of JwtSigningKey is too short: cursors stay with the keys before it", "least", secretbox.MinSecret)
			return
		}
		s.cursors.Use(keys...)
	})
	s.state.Store(health.Starting)
	var err error
	s.pools, err = postgres.Open(ctx, access.databaseURL(), postgres.Budget{
		Orders: c.PoolOrders, Reads: c.PoolReads, Background: c.PoolBackground, Drain: c.PoolDrain, Acquire: c.AcquireTimeout,
	}, access.databaseLogin()...)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.pools.Close)
	locks, err := s.openRedis()
	if err != nil {
		return nil, err
	}
	s.verifier, err = auth.NewVerifier(auth.Config{Issuers: c.issuers, Client: &http.Client{Timeout: dependency.Issuer.Call}})
	if err != nil {
		return nil, err
	}
	answers, err := access.box(boxAnswers, logger)
	if err != nil {
		return nil, err
	}
	s.keys, err = idempotency.New(idempotency.Options{Pools: s.pools, Lane: s.lane, LockNodes: locks, Timeout: c.RequestTimeout, Box: answers})
	if err != nil {
		return nil, err
	}
	admission, err := resilience.New(resilience.Options{
		Min: c.AdmissionMin, Max: c.AdmissionMax, Start: c.AdmissionStart, Target: c.AdmissionTarget, Budget: c.AdmissionWait,
		Hold: c.AdmissionHold, Held: c.AdmissionHeld,
	})
	if err != nil {
		return nil, err
	}
	s.admission = admission
	if err := admission.Watch(otel.Meter("admission")); err != nil {
		return nil, err
	}
	limits, err := s.limits()
	if err != nil {
		return nil, err
	}
	clients, err := s.clients()
	if err != nil {
		return nil, err
	}
	s.api, err = rest.New(rest.Config{
		Title: "Order & Catalog service", Version: version,
		Description: "Products, carts and orders. Every write needs an Idempotency-Key; errors are RFC 9457 problems.",
		ProblemBase: c.PublicBaseURL, Verifier: s.verifier, Logger: logger, Ready: s.ready, Deadline: c.RequestTimeout, Admission: admission, Limits: limits,
		Clients: clients, Origins: c.CORSOrigins, Retirements: retirements,
	})
	if err != nil {
		return nil, err
	}
	if err := s.openBus(); err != nil {
		return nil, err
	}
	s.probes = health.New(func() health.State { return s.state.Load().(health.State) }, s.isAdmin, s.dependencies()...)
	return s, s.register()
}

// openRedis makes the clients of the cache and of the RedLock's nodes.
func (s *service) openRedis() (locks []*redis.Client, err error) {
	open := func(variable, url string, login *sharedredis.Login) (*redis.Client, error) {
		client, err := sharedredis.OpenAs(url, login)
		if err != nil {
			return nil, fmt.Errorf("%s is %w", variable, err)
		}
		s.closers = append(s.closers, func() { _ = client.Close() })
		return client, nil
	}
	if s.config.RedisURL != "" {
		if s.redis, err = open("REDIS_URL", string(s.config.RedisURL), s.access.redisLogin()); err != nil {
			return nil, err
		}
		if s.lane, err = sharedredis.NewLane(s.redis); err != nil {
			return nil, err
		}
	}
	for _, url := range s.config.RedlockURLs {
		node, err := open("REDLOCK_URLS", string(url), nil)
		if err != nil {
			return nil, err
		}
		locks = append(locks, node)
	}
	return locks, nil
}

// openBus makes the way out for events.
func (s *service) openBus() (err error) {
	s.bus, err = servicebus.Open(servicebus.Options{
		ConnectionString: s.access.store.Get(secrets.ServiceBus), Namespace: s.config.ServiceBusNamespace, Credential: s.access.bus,
	})
	if err != nil {
		return err
	}
	s.access.follow(secrets.ServiceBus, s.bus.Use, s.logger)
	s.closers = append(s.closers, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.bus.Close(ctx)
	})
	s.drain, err = outbox.NewDrain(s.pools.Drain, s.bus.Sender(servicebus.TopicOrderEvents), s.logger)
	if err != nil {
		return err
	}
	return outbox.Watch(s.pools.Background)
}

// register puts every function of routes.go on the API.
func (s *service) register() error {
	s.api.Handle("GET /{$}", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusOK) // the host asks this until it is answered, and again under load
	}))
	for _, f := range httpFunctions {
		if err := f.Register(s); err != nil {
			return fmt.Errorf("registering function %s: %w", f.Function, err)
		}
	}
	t := triggers{logger: s.logger, deadline: triggerDeadline}
	for _, f := range triggerFunctions {
		s.api.Handle("/"+f.Function, t.handler(f, f.Run(s)))
	}
	return nil
}

func (s *service) registerCatalog() (err error) {
	s.catalog, err = catalog.New(catalog.Options{API: s.api, Pools: s.pools, Keys: s.keys, Cursors: s.cursors, Redis: s.redis, Nudge: s.drain.Nudge})
	return err
}

func (s *service) registerOrders() (err error) {
	s.orders, err = orders.New(orders.Options{
		API: s.api, Pools: s.pools, Keys: s.keys, Cursors: s.cursors, AvailabilityChanged: s.catalog.Invalidate, Nudge: s.drain.Nudge, Logger: s.logger,
		Send: s.bus.Sender(servicebus.QueueOrderRequests).Send, QueueAfter: s.config.OrderQueueAfter, Redis: s.redis,
		Poison: func(ctx context.Context, m servicebus.Received, cause error) error {
			return s.ops.RecordPoison(ctx, servicebus.QueueOrderRequests, m, cause)
		},
	})
	return err
}

func (s *service) registerOps() (err error) {
	s.ops, err = ops.New(ops.Options{
		Metrics: s.metrics, Logger: s.logger, Switches: map[string]ops.Switch{
			"shed-browse": {
				Title: "Refuse reads of the catalog, carts and orders, and GraphQL queries, with 503, so that all that is left goes into orders",
				Turn:  func(on bool) { s.admission.Shed(resilience.Browse, on) },
			},
			"async-orders": {Title: "Answer orders 202 at once and place them from the queue", Turn: s.api.AnswerLater},
			"search-off": {
				Title: "Refuse searches of the catalog with 503; lists without a search go on",
				Turn:  func(on bool) { s.api.Turn(rest.SearchOff, on) },
			},
			"carts-read-only": {
				Title: "Refuse changes of carts with 503; carts can be read, and orders go on",
				Turn:  func(on bool) { s.api.Turn(rest.CartsReadOnly, on) },
			},
			"read-only": {
				Title: "Refuse all writes but operators' own with 503, repeats too; reads, deliveries and the placing of queued orders go on",
				Turn:  func(on bool) { s.api.Turn(rest.ReadOnly, on) },
			},
		},
		API: s.api, Pools: s.pools, Keys: s.keys, Cursors: s.cursors, Nudge: s.drain.Nudge,
		Senders: map[string]*servicebus.Sender{
			servicebus.TopicOrderEvents:     s.bus.Sender(servicebus.TopicOrderEvents),
			servicebus.QueueOrderRequests:   s.bus.Sender(servicebus.QueueOrderRequests),
			servicebus.QueueWebhookDelivery: s.bus.Sender(servicebus.QueueWebhookDelivery),
		},
	})
	return err
}

func (s *service) registerWebhooks() error {
	box, err := s.access.box(boxEndpoints, s.logger)
	if err != nil {
		return err
	}
	client := egress.New(egress.Options{AllowLoopback: s.config.WebhookAllowLoopback})
	s.closers = append(s.closers, client.Close)
	s.webhooks, err = webhooks.New(webhooks.Options{
		API: s.api, Pools: s.pools, Keys: s.keys, Cursors: s.cursors, Box: box, Egress: client, Logger: s.logger,
		Send: s.bus.Sender(servicebus.QueueWebhookDelivery).Send, Nudge: s.drain.Nudge,
		Poison: s.ops.RecordPoison,
	})
	return err
}

func (s *service) registerGraphQL() error {
	trusted := graphql.Trusted{Mode: s.config.GraphQLTrusted}
	if name := s.config.GraphQLManifest; name != "" {
		var err error
		if trusted.Manifest, err = os.ReadFile(name); err != nil { //nolint:gosec // the operator's setting
			return fmt.Errorf("reading GRAPHQL_MANIFEST: %w", err)
		}
	}
	_, err := graphql.New(graphql.Options{
		API: s.api, Catalog: s.catalog, Carts: s.carts, Orders: s.orders, Logger: s.logger, Status: s.config.GraphQLStatus,
		Introspection: s.config.forDevelopers(s.config.GraphQLIntrospection), Trusted: trusted,
		IDE: graphql.IDE{Enabled: s.config.forDevelopers(s.config.GraphQLIDE), TokenURL: s.config.GraphQLIDETokenURL},
	})
	return err
}

func (s *service) dependencies() []health.Check {
	list := []health.Check{{Name: "postgresql", Ask: s.pools.Background.Ping}}
	if s.redis != nil {
		list = append(list, health.Check{Name: "redis", Ask: func(ctx context.Context) error { return sharedredis.Ping(ctx, s.redis) }})
	}
	return list
}

// isAdmin tells whether a probe may see which dependency is away.
func (s *service) isAdmin(r *http.Request) bool {
	token, err := auth.Bearer(r)
	if err != nil {
		return false
	}
	id, err := s.verifier.Verify(r.Context(), token)
	return err == nil && id.Admin()
}

// start begins what runs beside requests, until ctx ends: bringing the schema up, and hearing of changed products.
func (s *service) start(ctx context.Context) {
	background.Keep(ctx, "startup", s.bringUp)
	background.Go("outbox", func() {
		select {
		case <-s.started:
			s.drain.Run(ctx)
		case <-ctx.Done():
		}
	})
	background.Keep(ctx, "switches", func(ctx context.Context) {
		select {
		case <-s.started:
			s.ops.Follow(ctx)
		case <-ctx.Done():
		}
	})
	background.Keep(ctx, "secrets", s.access.store.Run)
	for name, tokens := range s.access.tokens() {
		background.Keep(ctx, "tokens for "+name, tokens.Run)
	}
	background.Keep(ctx, "invalidations", s.catalog.Listen)
}

// bringUp migrates until it works: the database may come up after us.
func (s *service) bringUp(ctx context.Context) {
	background.Go("signing keys", func() {
		if err := s.verifier.Prime(ctx); err != nil {
			s.logger.WarnContext(ctx, "the token issuer's keys could not be fetched yet", "error", err)
		}
	})
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := postgres.Migrate(ctx, s.access.migrationsURL(), func(step string) { s.logger.InfoContext(ctx, "migrated", "step", step) },
			s.access.migrationsLogin()...)
		if err == nil {
			// The first connection tells the server's timeline, which names what is kept in Redis (CX-09): no request comes before.
			err = s.pools.Orders.Ping(ctx)
		}
		if err == nil {
			err = s.ops.Look(ctx) // nor any that a switch refuses
		}
		if err == nil {
			s.state.CompareAndSwap(health.Starting, health.Serving)
			close(s.started)
			background.Go("role limits", func() { s.checkLimits(ctx) })
			return
		}
		s.logger.WarnContext(ctx, "the database is not ready yet", "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

// checkLimits warns, once, when the role that serves requests lacks a timeout, or when its connections won't be enough:
// nothing else would show it before the day when a stuck transaction holds a hot product's lock, or all instances are up.
func (s *service) checkLimits(ctx context.Context) {
	mend, err := postgres.MissingLimits(ctx, s.pools.Background)
	switch {
	case err != nil:
		s.logger.WarnContext(ctx, "the timeouts of DATABASE_URL's role could not be checked", "error", err)
	case len(mend) > 0:
		s.logger.WarnContext(ctx, "the role of DATABASE_URL has no timeout of a kind it needs: run this once as its administrator",
			"sql", strings.Join(mend, "; "))
	}
	fit, err := s.pools.Fit(ctx)
	if err != nil {
		s.logger.WarnContext(ctx, "the connections of DATABASE_URL's server could not be counted", "error", err)
		return
	}
	for _, warning := range fit.Warnings() {
		s.logger.WarnContext(ctx, "DATABASE_URL and this process do not fit", "why", warning)
	}
}

// ready holds a request back while the process is just starting, for a little while.
func (s *service) ready(ctx context.Context) error {
	select {
	case <-s.started:
		return nil
	default:
	}
	select {
	case <-s.started:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("%w: the schema has not been checked yet", postgres.ErrUnavailable)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *service) close() {
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i]()
	}
}
