package azure

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/company/order-catalog-service/shared/servicebus"
)

// function is one function.json.
type function struct {
	name, trigger, route       string
	queue, topic, subscription string
}

// functions are all functions of the app, by the names under which they are staged.
func functions(t *testing.T) (list []function) {
	t.Helper()
	const root = "../../functions"
	require.NoError(t, filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Base(path) != "function.json" {
			return err
		}
		raw, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		var file struct {
			Bindings []struct{ Type, Route, QueueName, TopicName, SubscriptionName string }
		}
		if err := json.Unmarshal(raw, &file); err != nil {
			return err
		}
		below, err := filepath.Rel(root, filepath.Dir(path))
		b := file.Bindings[0]
		list = append(list, function{
			strings.ReplaceAll(filepath.ToSlash(below), "/", "-"), b.Type, b.Route,
			strings.TrimSuffix(b.QueueName, servicebus.DeadLetterQueueSuffix), b.TopicName, strings.TrimSuffix(b.SubscriptionName, servicebus.DeadLetterQueueSuffix),
		})
		return err
	}))
	require.NotEmpty(t, list)
	return list
}

// configTags are the env tags of handler/config.go.
func configTags(t *testing.T) (tags []reflect.StructTag) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../handler/config.go", nil, 0)
	require.NoError(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		declared, ok := n.(*ast.TypeSpec)
		if !ok || declared.Name.Name != "config" {
			return true
		}
		for _, field := range declared.Type.(*ast.StructType).Fields.List {
			if field.Tag == nil {
				continue
			}
			tag, err := strconv.Unquote(field.Tag.Value)
			require.NoError(t, err)
			if reflect.StructTag(tag).Get("env") != "" {
				tags = append(tags, reflect.StructTag(tag))
			}
		}
		return false
	})
	require.NotEmpty(t, tags)
	return tags
}

// configDefaults are the variables that the handler reads, with their defaults; "required" where there is none.
func configDefaults(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	for _, tag := range configTags(t) {
		name, options, _ := strings.Cut(tag.Get("env"), ",")
		out[name] = tag.Get("envDefault")
		if strings.Contains(options, "required") {
			out[name] = "required"
		}
	}
	return out
}

func appSettings(t *testing.T, s snapshot) (list []resource) {
	t.Helper()
	for _, app := range s.all("Microsoft.Web/sites") {
		for _, c := range s.all("Microsoft.Web/sites/config") {
			if c.Name == app.Name+"/appsettings" {
				list = append(list, c)
			}
		}
	}
	require.Len(t, list, len(s.all("Microsoft.Web/sites")))
	return list
}

// platformSettings are read by the host and by Azure, not by the handler.
var platformSettings = []string{
	"AzureWebJobsStorage__blobServiceUri", "AzureWebJobsStorage__queueServiceUri", "AzureWebJobsStorage__tableServiceUri",
	"AzureWebJobsStorage__credential", "AzureWebJobsStorage__clientId", "AzureWebJobsDisableHomepage",
	"APPLICATIONINSIGHTS_CONNECTION_STRING", "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
}

// leftAlone are variables that the handler reads and Azure's apps don't set, and why.
var leftAlone = map[string]string{
	"FUNCTIONS_CUSTOMHANDLER_PORT": "the host sets it", "AWS_LAMBDA_RUNTIME_API": "AWS sets it", "WEBSITE_SITE_NAME": "Azure sets it", "WEBSITE_INSTANCE_ID": "Azure sets it", "REGION_NAME": "Azure sets it", "SERVICEBUS_CONNECTION": "an identity is used", "REDIS_ACCESS_KEY": "an identity is used",
	"JWT_SIGNING_KEY": inVault, "JWT_SIGNING_KEY_PREVIOUS": inVault, "WEBHOOK_SECRET": inVault, "WEBHOOK_SECRET_PREVIOUS": inVault,
	"SECRETS_REFRESH": defaultFits, "SECRETS_WAIT": defaultFits,
	"AUTH_ISSUERS":           "there is one issuer, in the settings of its own",
	"WEBHOOK_ALLOW_LOOPBACK": "for a developer's machine", "REDLOCK_URLS": "there is one Redis in a region",
	"DB_POOL_ORDERS": defaultFits, "DB_POOL_READS": defaultFits, "DB_POOL_BACKGROUND": defaultFits, "DB_POOL_DRAIN": defaultFits, "DB_ACQUIRE_TIMEOUT": defaultFits,
	"ADMISSION_MIN": defaultFits, "ADMISSION_MAX": defaultFits, "ADMISSION_START": defaultFits, "ADMISSION_TARGET": defaultFits, "ADMISSION_WAIT": defaultFits, "ADMISSION_HOLD": defaultFits, "ADMISSION_HELD": defaultFits,
	"CORS_ALLOWED_ORIGINS": "the gateway passes no preflight on: pages call by way of their own server", "RATE_LIMIT_CLIENTS": "the gateway counts by subscription",
	"TRACE_TRUST_CALLERS": "callers are the public", "OTEL_SDK_DISABLED": "it is wanted", "OTEL_METRICS_EXPORTER": defaultFits,
	"OTEL_TRACES_SAMPLER_ARG": defaultFits, "CHECK_BOOKS_EVERY": defaultFits,
	"RATE_LIMIT_WITHOUT_REDIS": defaultFits, "RATE_LIMIT_CHECKOUT": defaultFits, "RATE_LIMIT_BROWSE": defaultFits, "RATE_LIMIT_REST": defaultFits,
	"GRAPHQL_STATUS": "the current text", "GRAPHQL_TRUSTED": "the shop's decision", "GRAPHQL_MANIFEST": "the shop's decision",
	"GRAPHQL_INTROSPECTION": "off by itself in Azure", "GRAPHQL_IDE": "off by itself in Azure", "GRAPHQL_IDE_TOKEN_URL": "for a developer's machine",
	"REQUEST_TIMEOUT": defaultFits, "ORDER_CONFIRM_AFTER": defaultFits, "ORDER_QUEUE_AFTER": "queueing is the shop's decision", "LOG_LEVEL": "warnings and up",
}

const (
	defaultFits = "the default is meant for an instance of one core"
	inVault     = "the vault has it"
)

// TestSettingsAreTheHandlersOwn: a variable that the handler begins to read must be set by Bicep or left alone for a
// reason, and one that it no longer reads must go.
func TestSettingsAreTheHandlersOwn(t *testing.T) {
	t.Parallel()
	reads := configDefaults(t)
	for name := range leftAlone {
		assert.Contains(t, reads, name, "the handler doesn't read it: take it out of the list")
	}
	each(t, func(s snapshot) {
		t := s.t
		for _, app := range appSettings(t, s) {
			for name := range app.Properties {
				if slices.Contains(platformSettings, name) || strings.HasPrefix(name, "AzureWebJobs.") {
					continue
				}
				assert.Contains(t, reads, name, "%s: nobody reads it", app.Name)
				assert.NotContains(t, leftAlone, name, app.Name)
			}
			for name := range reads {
				if leftAlone[name] == "" {
					assert.NotEmpty(t, app.text(name), "%s: infra/main.bicep sets no %s", app.Name, name)
				}
			}
			for _, name := range platformSettings {
				assert.NotEmpty(t, app.text(name), "%s: %s", app.Name, name)
			}
		}
	})
}

// TestMessagesStartFunctionsInOneAppOnly: the canary and the region that stands by would compete for them.
func TestMessagesStartFunctionsInOneAppOnly(t *testing.T) {
	t.Parallel()
	var triggered []string
	for _, f := range functions(t) {
		if f.trigger != "httpTrigger" {
			triggered = append(triggered, "AzureWebJobs."+f.name+".Disabled")
		}
	}
	each(t, func(s snapshot) {
		t := s.t
		for _, app := range appSettings(t, s) {
			var disabled []string
			for name, value := range app.Properties {
				if strings.HasPrefix(name, "AzureWebJobs.") {
					assert.Equal(t, "true", value)
					disabled = append(disabled, name)
				}
			}
			if strings.HasPrefix(app.Name, "func-orders-") && strings.Contains(app.Name, "-eus-") {
				assert.Empty(t, disabled, app.Name)
				continue
			}
			assert.ElementsMatch(t, triggered, disabled, app.Name)
		}
	})
}

// TestEntitiesAreTheCodesOwn holds queues, topics and subscriptions against the code's names, the functions that listen
// to them, and the local broker's configuration.
func TestEntitiesAreTheCodesOwn(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("../../infra/local/servicebus/config.json")
	require.NoError(t, err)
	type entity struct {
		Name          string
		Properties    map[string]any
		Subscriptions []entity
	}
	var local struct {
		UserConfig struct {
			Namespaces []struct{ Queues, Topics []entity }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &local))
	lower := func(e entity) map[string]any {
		out := map[string]any{}
		for name, value := range e.Properties {
			// The emulator takes no more than ten; a thousand is why a store that is away for a while poisons nothing.
			if name != "MaxDeliveryCount" {
				out[strings.ToLower(name[:1])+name[1:]] = value
			}
		}
		return out
	}
	each(t, func(s snapshot) {
		t := s.t
		var queues, topics, subscriptions []string
		properties := map[string]map[string]any{}
		for _, kind := range []string{"queues", "topics", "topics/subscriptions"} {
			for _, r := range s.all("Microsoft.ServiceBus/namespaces/" + kind) {
				_, name, _ := strings.Cut(r.Name, "/")
				properties[name] = r.Properties
				switch kind {
				case "queues":
					queues = append(queues, name)
				case "topics":
					topics = append(topics, name)
				default:
					subscriptions = append(subscriptions, name)
				}
				if kind != "topics" {
					assert.InDelta(t, 1000, r.at("maxDeliveryCount"), 0, name)
				}
			}
		}
		assert.ElementsMatch(t, []string{servicebus.QueueOrderRequests, servicebus.QueueWebhookDelivery}, queues)
		assert.ElementsMatch(t, []string{servicebus.TopicOrderEvents}, topics)
		assert.ElementsMatch(t, []string{servicebus.TopicOrderEvents + "/" + servicebus.SubscriptionWebhooks}, subscriptions)
		for _, f := range functions(t) {
			if f.trigger != "serviceBusTrigger" {
				continue
			}
			if f.queue != "" {
				assert.Contains(t, queues, f.queue, f.name)
			} else {
				assert.Contains(t, subscriptions, f.topic+"/"+f.subscription, f.name)
			}
		}
		namespace := local.UserConfig.Namespaces[0]
		for _, e := range slices.Concat(namespace.Queues, namespace.Topics) {
			assert.Subset(t, properties[e.Name], lower(e), e.Name)
			for _, sub := range e.Subscriptions {
				assert.Subset(t, properties[e.Name+"/"+sub.Name], lower(sub), sub.Name)
			}
		}
	})
}
