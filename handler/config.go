package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/caarlos0/env/v11"

	"github.com/company/order-catalog-service/functions/graphql"
	"github.com/company/order-catalog-service/shared/auth"
	"github.com/company/order-catalog-service/shared/ratelimit"
	"github.com/company/order-catalog-service/shared/rest"
)

// config is everything the process reads from its environment, and the only place where it does.
type config struct {
	Port int `env:"FUNCTIONS_CUSTOMHANDLER_PORT" envDefault:"8080"`
	// Set by AWS Lambda, where nothing listens: events are asked for at this address.
	LambdaRuntime string `env:"AWS_LAMBDA_RUNTIME_API"`

	// With a vault, what of the connections and secrets below it holds counts, and may be missing here (access.go).
	KeyVaultURL    string        `env:"KEY_VAULT_URL"`
	AzureClientID  string        `env:"AZURE_CLIENT_ID"`
	SecretsRefresh time.Duration `env:"SECRETS_REFRESH" envDefault:"5m"`
	SecretsWait    time.Duration `env:"SECRETS_WAIT" envDefault:"20s"`

	DatabaseURL           secret   `env:"DATABASE_URL"`
	DatabaseIdentity      bool     `env:"DATABASE_IDENTITY"`
	MigrationsDatabaseURL secret   `env:"MIGRATIONS_DATABASE_URL"`
	RedisURL              secret   `env:"REDIS_URL"`
	RedisIdentity         bool     `env:"REDIS_IDENTITY"`
	RedisAccessKey        secret   `env:"REDIS_ACCESS_KEY"`
	RedlockURLs           []secret `env:"REDLOCK_URLS"`

	// As the triggers' connection setting: a connection string, or these parts of an identity's.
	ServiceBus           secret `env:"SERVICEBUS_CONNECTION"`
	ServiceBusNamespace  string `env:"SERVICEBUS_CONNECTION__fullyQualifiedNamespace"`
	ServiceBusClientID   string `env:"SERVICEBUS_CONNECTION__clientId"`
	ServiceBusCredential string `env:"SERVICEBUS_CONNECTION__credential"`

	// One issuer, or several, or both. What comes of them is in issuers.
	AuthIssuer        string   `env:"AUTH_ISSUER"`
	AuthAudience      []string `env:"AUTH_AUDIENCE"`
	AuthCustomerClaim string   `env:"AUTH_CUSTOMER_CLAIM"`
	AuthIssuers       string   `env:"AUTH_ISSUERS"`
	issuers           []auth.Issuer

	PublicBaseURL string `env:"PUBLIC_BASE_URL"`
	// Origins whose pages may call the service from a browser.
	CORSOrigins []string `env:"CORS_ALLOWED_ORIGINS"`

	// The former ones still verify cursors and open what they sealed.
	JWTSigningKey         secret `env:"JWT_SIGNING_KEY"`
	JWTSigningKeyPrevious secret `env:"JWT_SIGNING_KEY_PREVIOUS"`
	WebhookSecret         secret `env:"WEBHOOK_SECRET"`
	WebhookSecretPrevious secret `env:"WEBHOOK_SECRET_PREVIOUS"`
	// For a receiver on this machine. A process that runs in Azure refuses it.
	WebhookAllowLoopback bool `env:"WEBHOOK_ALLOW_LOOPBACK"`

	// Set by Azure.
	AzureSite     string `env:"WEBSITE_SITE_NAME"`
	AzureInstance string `env:"WEBSITE_INSTANCE_ID"`
	AzureRegion   string `env:"REGION_NAME"`

	PoolOrders     int32         `env:"DB_POOL_ORDERS" envDefault:"8"`
	PoolReads      int32         `env:"DB_POOL_READS" envDefault:"6"`
	PoolBackground int32         `env:"DB_POOL_BACKGROUND" envDefault:"4"`
	PoolDrain      int32         `env:"DB_POOL_DRAIN" envDefault:"4"`
	AcquireTimeout time.Duration `env:"DB_ACQUIRE_TIMEOUT" envDefault:"2s"`

	AdmissionMin    int           `env:"ADMISSION_MIN" envDefault:"256"`
	AdmissionMax    int           `env:"ADMISSION_MAX" envDefault:"1000"`
	AdmissionStart  int           `env:"ADMISSION_START" envDefault:"256"`
	AdmissionTarget time.Duration `env:"ADMISSION_TARGET" envDefault:"100ms"`
	AdmissionWait   time.Duration `env:"ADMISSION_WAIT" envDefault:"200ms"`
	AdmissionHold   time.Duration `env:"ADMISSION_HOLD" envDefault:"2s"`
	AdmissionHeld   int           `env:"ADMISSION_HELD" envDefault:"4000"`

	RateLimitCheckout  string `env:"RATE_LIMIT_CHECKOUT" envDefault:"100/1m"`
	RateLimitBrowse    string `env:"RATE_LIMIT_BROWSE" envDefault:"600/1m"`
	RateLimitRest      string `env:"RATE_LIMIT_REST" envDefault:"100/1m"`
	RateLimitClients   string `env:"RATE_LIMIT_CLIENTS" envDefault:"off"`
	RateLimitAway      string `env:"RATE_LIMIT_WITHOUT_REDIS"`
	RateLimitProcesses int    `env:"RATE_LIMIT_PROCESSES" envDefault:"1"`

	GraphQLStatus        graphql.Status `env:"GRAPHQL_STATUS" envDefault:"draft"`
	GraphQLTrusted       graphql.Mode   `env:"GRAPHQL_TRUSTED" envDefault:"off"`
	GraphQLManifest      string         `env:"GRAPHQL_MANIFEST"`
	GraphQLIntrospection *bool          `env:"GRAPHQL_INTROSPECTION"` // nil: outside of Azure
	GraphQLIDE           *bool          `env:"GRAPHQL_IDE"`           // nil: outside of Azure
	GraphQLIDETokenURL   string         `env:"GRAPHQL_IDE_TOKEN_URL"`

	RequestTimeout    time.Duration `env:"REQUEST_TIMEOUT" envDefault:"15s"`
	OrderConfirmAfter time.Duration `env:"ORDER_CONFIRM_AFTER" envDefault:"15m"`
	OrderQueueAfter   time.Duration `env:"ORDER_QUEUE_AFTER" envDefault:"0s"`
	CheckBooksEvery   time.Duration `env:"CHECK_BOOKS_EVERY" envDefault:"1h"`
	LogLevel          slog.Level    `env:"LOG_LEVEL" envDefault:"WARN"`

	// Where telemetry goes; the exporters read what else OpenTelemetry defines (headers, timeouts, queues) by themselves.
	OTLPEndpoint      string  `env:"OTEL_EXPORTER_OTLP_ENDPOINT"`
	OTELDisabled      bool    `env:"OTEL_SDK_DISABLED"`
	TracesExporter    string  `env:"OTEL_TRACES_EXPORTER" envDefault:"otlp"`
	MetricsExporter   string  `env:"OTEL_METRICS_EXPORTER" envDefault:"otlp"`
	LogsExporter      string  `env:"OTEL_LOGS_EXPORTER" envDefault:"otlp"`
	TraceRatio        float64 `env:"OTEL_TRACES_SAMPLER_ARG" envDefault:"0.1"`
	TraceTrustCallers bool    `env:"TRACE_TRUST_CALLERS"`
}

// load reads the environment and reports every mistake at once. Errors name variables, never their values: some
// are secrets.
func load(environment map[string]string) (config, error) {
	var c config
	var wrong []error
	if err := env.ParseWithOptions(&c, env.Options{Environment: environment}); err != nil {
		wrong = append(wrong, plainly(err)...)
	}
	check := func(ok bool, text string) {
		if !ok {
			wrong = append(wrong, errors.New(text))
		}
	}
	check(c.Port > 0 && c.Port < 1<<16, "FUNCTIONS_CUSTOMHANDLER_PORT is not a port")
	wrong = append(wrong, c.readIssuers()...)
	check(c.PublicBaseURL == "" || isURL(c.PublicBaseURL), "PUBLIC_BASE_URL is not an http or https URL")
	check(!slices.ContainsFunc(c.CORSOrigins, func(o string) bool { return !rest.IsOrigin(o) }),
		"CORS_ALLOWED_ORIGINS is not a list of origins as browsers write them: https://shop.example or http://localhost:3000, with commas and nothing else (no *)")
	wrong = append(wrong, c.checkSecrets()...)
	check(!c.WebhookAllowLoopback || c.AzureSite == "", "WEBHOOK_ALLOW_LOOPBACK is for local runs: in Azure it would let customers call what is inside")
	check(c.PoolOrders > 0 && c.PoolReads > 0 && c.PoolBackground > 0 && c.PoolDrain > 0,
		"DB_POOL_ORDERS, DB_POOL_READS, DB_POOL_BACKGROUND and DB_POOL_DRAIN must be at least 1")
	check(c.ServiceBusCredential == "" || strings.EqualFold(c.ServiceBusCredential, "managedidentity"), "SERVICEBUS_CONNECTION__credential must be managedidentity, the only one that the handler knows")
	check(c.AcquireTimeout > 0, "DB_ACQUIRE_TIMEOUT must be longer than 0, as in 2s")
	check(c.AdmissionMin >= 4 && c.AdmissionMin <= c.AdmissionStart && c.AdmissionStart <= c.AdmissionMax,
		"ADMISSION_MIN must be at least 4, ADMISSION_START not below it, and ADMISSION_MAX not below that")
	check(c.AdmissionTarget > 0 && c.AdmissionWait > 0, "ADMISSION_TARGET and ADMISSION_WAIT must be longer than 0, as in 100ms")
	check(c.AdmissionHold >= 0 && c.AdmissionHeld >= 0, "ADMISSION_HOLD (as in 1s) and ADMISSION_HELD can't be negative; 0 refuses at once")
	check(c.RateLimitProcesses > 0, "RATE_LIMIT_PROCESSES must be at least 1")
	for variable, text := range map[string]string{
		"RATE_LIMIT_CHECKOUT": c.RateLimitCheckout, "RATE_LIMIT_BROWSE": c.RateLimitBrowse, "RATE_LIMIT_REST": c.RateLimitRest,
	} {
		if _, err := ratelimit.Parse("", text); err != nil {
			wrong = append(wrong, fmt.Errorf("%s %w", variable, err))
		}
	}
	if _, err := ratelimit.ParseClients(c.RateLimitClients); err != nil {
		wrong = append(wrong, fmt.Errorf("RATE_LIMIT_CLIENTS %w", err))
	}
	if err := ratelimit.ParseWhenAway(c.RateLimitAway, whenAway()); err != nil {
		wrong = append(wrong, fmt.Errorf("RATE_LIMIT_WITHOUT_REDIS %w", err))
	}
	c.checkGraphQL(check)
	check(c.RequestTimeout > 0 && c.RequestTimeout <= time.Minute, "REQUEST_TIMEOUT must be between 0 and 1m, below the host's functionTimeout")
	check(c.OrderQueueAfter >= 0 && c.OrderQueueAfter <= c.RequestTimeout/2, "ORDER_QUEUE_AFTER must be 0 or at most half of REQUEST_TIMEOUT: queueing takes time too")
	check(c.OTLPEndpoint == "" || isURL(c.OTLPEndpoint), "OTEL_EXPORTER_OTLP_ENDPOINT is not an http or https URL, as in http://127.0.0.1:4318")
	check(c.TraceRatio >= 0 && c.TraceRatio <= 1, "OTEL_TRACES_SAMPLER_ARG must be between 0 and 1: the part of the traces that is recorded")
	for variable, exporter := range map[string]string{
		"OTEL_TRACES_EXPORTER": c.TracesExporter, "OTEL_METRICS_EXPORTER": c.MetricsExporter, "OTEL_LOGS_EXPORTER": c.LogsExporter,
	} {
		check(exporter == "otlp" || exporter == "none", variable+" must be otlp or none")
	}
	check(c.CheckBooksEvery >= 0, "CHECK_BOOKS_EVERY must be 0 (never) or longer, as in 1h")
	check(c.OrderConfirmAfter > 0, "ORDER_CONFIRM_AFTER must be longer than 0, as in 15m")
	if len(wrong) > 0 {
		return config{}, fmt.Errorf("the environment is not complete:\n%w", errors.Join(wrong...))
	}
	return c, nil
}

// readIssuers puts the issuers of tokens together. Mistakes in AUTH_ISSUER are told apart from those in AUTH_ISSUERS.
func (c *config) readIssuers() (wrong []error) {
	if c.AuthIssuer == "" && c.AuthIssuers == "" {
		return []error{errors.New("AUTH_ISSUER is not set (nor AUTH_ISSUERS, for several)")}
	}
	var one, more []auth.Issuer
	if c.AuthIssuer != "" {
		one = []auth.Issuer{{URL: c.AuthIssuer, Audiences: c.AuthAudience, CustomerClaim: c.AuthCustomerClaim}}
		if len(c.AuthAudience) == 0 {
			wrong = append(wrong, errors.New("AUTH_AUDIENCE is not set"))
		} else if err := auth.CheckIssuers(one); err != nil {
			wrong = append(wrong, fmt.Errorf("AUTH_ISSUER, AUTH_AUDIENCE, AUTH_CUSTOMER_CLAIM: %w", err))
		}
	}
	if c.AuthIssuers != "" {
		var err error
		if more, err = auth.ParseIssuers(c.AuthIssuers); err == nil {
			err = auth.CheckIssuers(more)
		}
		if err != nil {
			wrong = append(wrong, fmt.Errorf("AUTH_ISSUERS: %w", err))
		}
	}
	c.issuers = slices.Concat(one, more)
	if len(wrong) == 0 && len(one) > 0 && len(more) > 0 {
		if err := auth.CheckIssuers(c.issuers); err != nil {
			wrong = append(wrong, fmt.Errorf("AUTH_ISSUER (issuer 1) and AUTH_ISSUERS (from issuer 2 on): %w", err))
		}
	}
	return wrong
}

// forDevelopers is a setting of what helps developers: on by itself where the process is not in Azure.
func (c *config) forDevelopers(setting *bool) bool {
	if setting == nil {
		return c.AzureSite == ""
	}
	return *setting
}

// checkGraphQL checks what GraphQL reads.
func (c *config) checkGraphQL(check func(bool, string)) {
	check(c.GraphQLStatus == graphql.StatusDraft || c.GraphQLStatus == graphql.StatusLegacy, "GRAPHQL_STATUS must be draft or legacy")
	check(c.GraphQLTrusted == graphql.TrustOff || c.GraphQLTrusted == graphql.TrustReport || c.GraphQLTrusted == graphql.TrustEnforce,
		"GRAPHQL_TRUSTED must be off, report or enforce")
	check(c.GraphQLTrusted == graphql.TrustOff || c.GraphQLManifest != "", "GRAPHQL_MANIFEST must name the file of the trusted documents, as GRAPHQL_TRUSTED is not off")
	check(c.GraphQLIDETokenURL == "" || isURL(c.GraphQLIDETokenURL), "GRAPHQL_IDE_TOKEN_URL is not an http or https URL")
	check(c.GraphQLIDETokenURL == "" || c.AzureSite == "", "GRAPHQL_IDE_TOKEN_URL is for local runs: in Azure it would hand a token to whoever opens the page")
}

// plainly says what is wrong with each variable without the library's wording, which quotes values.
func plainly(err error) (list []error) {
	var all env.AggregateError
	if !errors.As(err, &all) {
		return []error{errors.New("the environment cannot be read")}
	}
	for _, one := range all.Errors {
		var (
			missing env.VarIsNotSetError
			empty   env.EmptyVarError
			parse   env.ParseError
		)
		switch {
		case errors.As(one, &missing):
			list = append(list, fmt.Errorf("%s is not set", missing.Key))
		case errors.As(one, &empty):
			list = append(list, fmt.Errorf("%s is empty", empty.Key))
		case errors.As(one, &parse):
			list = append(list, fmt.Errorf("%s is not a %s", variable(parse.Name), parse.Type))
		default:
			list = append(list, errors.New("a variable cannot be read"))
		}
	}
	return list
}

func isURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != ""
}

// variable is the environment's name of a field.
func variable(field string) string {
	params, err := env.GetFieldParams(&config{})
	if err != nil {
		return field
	}
	t := reflect.TypeFor[config]()
	for i := range t.NumField() {
		if t.Field(i).Name == field && i < len(params) {
			return params[i].Key
		}
	}
	return field
}
