package app

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const goodHost = `{"version": "2.0", "functionTimeout": "00:02:00",
	"customHandler": {"description": {"defaultExecutablePath": "handler"}, "enableProxyingHttpRequest": true},
	"extensions": {"http": {"routePrefix": "", "customHeaders": {"X-A": "b"}}},
	"extensionBundle": {"id": "x", "version": "[4.*, 5.0.0)"},
	"logging": {"logLevel": {"default": "Warning", "Function": "Error", "Host.Function.Console": "Information"}}}`

func httpFunction(more string) string {
	return `{"bindings": [{"type": "httpTrigger", "direction": "in", "name": "req", "authLevel": "anonymous"` + more + `},
		{"type": "http", "direction": "out", "name": "res"}]}`
}

func bindings(all ...string) string { return `{"bindings": [` + strings.Join(all, ",") + `]}` }

// stage writes files below a fresh folder; a handler that can be executed is always there.
func stage(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "handler"), []byte("#!/bin/sh\n"), 0o700))
	for name, text := range files {
		path := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o700))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	}
	return dir
}

func TestReadsWhatIsStaged(t *testing.T) {
	t.Parallel()
	dir := stage(t, map[string]string{
		"host.json":             goodHost,
		"orders/function.json":  httpFunction(`, "route": "api/v1/orders/{*rest}", "methods": ["get", "Post"]`),
		"Docs/function.json":    httpFunction(`, "dataType": "binary"`),
		"off/function.json":     `{"disabled": true, ` + httpFunction("")[1:],
		"assets/readme.txt":     "no function",
		"a/b/function.json":     httpFunction(""), // not a direct child
		"drain/function.json":   bindings(`{"type": "timerTrigger", "direction": "in", "name": "t", "schedule": "%EVERY%"}`),
		"hourly/function.json":  bindings(`{"type": "timerTrigger", "name": "t", "schedule": "0 0 * * * *", "runOnStartup": true}`),
		"loose/function.json":   bindings(`{"type": "timerTrigger", "name": "t", "schedule": "0 * * * *", "useMonitor": false}`),
		"queued/function.json":  bindings(`{"type": "serviceBusTrigger", "name": "m", "queueName": "q", "connection": "SB", "cardinality": "many", "dataType": "binary"}`),
		"fan-out/function.json": bindings(`{"type": "serviceBusTrigger", "name": "m", "topicName": "%T%", "subscriptionName": "s", "connection": "ID", "isSessionsEnabled": true}`),
	})
	a, err := Read(dir, NewSettings([]string{"EVERY=*/5 * * * * *", "SB=Endpoint=sb://x", "T=events", "ID__fullyQualifiedNamespace=x", "noequals"}))
	require.NoError(t, err)

	assert.Equal(t, 2*time.Minute, a.FunctionTimeout)
	assert.Equal(t, 30*time.Second, a.InitTimeout)
	assert.Equal(t, filepath.Join(dir, "handler"), a.Executable)
	assert.Equal(t, dir, a.WorkingDirectory)
	assert.Equal(t, map[string]string{"X-A": "b"}, a.CustomHeaders)
	assert.Empty(t, a.Warnings)

	byName := map[string]Function{}
	var order []string
	for _, f := range a.Functions {
		byName[f.Name] = f
		order = append(order, f.Name)
	}
	assert.Equal(t, []string{"Docs", "drain", "fan-out", "hourly", "loose", "orders", "queued"}, order, "ordinal order without case")

	orders := byName["orders"].HTTP
	assert.Equal(t, "api/v1/orders/{*rest}", orders.Route.String())
	assert.True(t, orders.Takes("POST"))
	assert.False(t, orders.Takes("PUT"))
	docs := byName["Docs"].HTTP
	assert.Equal(t, "Docs", docs.Route.String(), "a route defaults to the function's name")
	assert.True(t, docs.Takes("PUT"))

	assert.False(t, byName["drain"].Timer.Monitored, "under a minute the host keeps no status")
	assert.True(t, byName["hourly"].Timer.Monitored)
	assert.True(t, byName["hourly"].Timer.RunOnStartup)
	assert.False(t, byName["loose"].Timer.Monitored)
	assert.Equal(t, ServiceBusTrigger{Binding: "m", Queue: "q", Connection: "SB", Batch: true, Binary: true, MaxCalls: 16, MaxBatch: 1000, MaxRenew: 5 * time.Minute}, *byName["queued"].ServiceBus)
	assert.Equal(t, ServiceBusTrigger{Binding: "m", Topic: "events", Subscription: "s", Connection: "ID", Sessions: true, MaxCalls: 16, MaxBatch: 1000, MaxRenew: 5 * time.Minute}, *byName["fan-out"].ServiceBus)
}

func TestRefusesInHostJSON(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		`{`:                                 "host.json: line 1 is not JSON",
		"{\n// why\n}":                      "host.json: line 2 is not JSON",
		`[]`:                                "must be an object",
		`{"version": "1"}`:                  `host.json: version: must be "2.0", is "1"`,
		`{"version": 2}`:                    "host.json: version: must be text, is 2",
		`{"custmHandler":1}`:                "host.json: custmHandler is not known here",
		`{"functionTimeout": "2m"}`:         `"2m" is not a time span`,
		`{"functionTimeout": "00:00:00.5"}`: "minimum of a second",
		`{"customHandler": {}}`:             "defaultExecutablePath: is required",
		`{"customHandler": {"description": {"defaultExecutablePath": "nothere"}}}`: "build and stage the handler first",
		`{"customHandler": {"description": {"workingDirectory": "x"}}}`:            "is not a folder",
		`{"customHandler": {"enableForwardingHttpRequest": true}}`:                 "enableProxyingHttpRequest: must be true",
		`{"customHandler": {"enableHttpProxyingRequest": true}}`:                   "host.json: customHandler: enableHttpProxyingRequest is not known",
		`{"customHandler": {"port": 80}}`:                                          "a fixed port is not done here",
		`{"customHandler": {"type": "none"}}`:                                      `must be "http"`,
		`{"customHandler": {"initializationTimeout": "00:00:00"}}`:                 "more than nothing",
		`{"customHandler": {"http": {"routes": [{"route": "x"}]}}}`:                "can't live beside function.json",
		`{"extensions": {"http": {"maxOutstandingRequests": 5}}}`:                  "comes without Retry-After",
		`{"extensions": {"http": {"dynamicThrottlesEnabled": true}}}`:              "dynamicThrottlesEnabled: is not done here",
		`{"extensions": {"http": {"routePrefx": ""}}}`:                             "routePrefx is not known",
		`{"extensions": {"http": {"customHeaders": {"a": 1}}}}`:                    "an object of texts",
		`{"extensions": {"serviceBus": {"maxConcurrentCalls": 0}}}`:                "must be at least 1",
		`{"extensions": {"serviceBus": {"maxMessageBatchSize": 0}}}`:               "must be at least 1",
		`{"extensions": {"serviceBus": {"autoCompleteMessages": false}}}`:          "autoCompleteMessages: must stay true",
		`{"extensions": {"serviceBus": {"maxAutoLockRenewalDuration": "soon"}}}`:   "maxAutoLockRenewalDuration",
		`{"extensions": {"serviceBus": {"maxCalls": 1}}}`:                          "maxCalls is not known",
		`{"extensions": {"blobs": {}}}`:                                            "blobs is not known",
		`{"logging": {"logLevel": {"default": "Loud"}}}`:                           `"Loud" is not a level`,
		`{"configurationProfile": "mcp-custom-handler"}`:                           "configurationProfile: its routes",
		`{"retry": {}}`:                        "retry policy for all",
		`{"httpWorker": {}}`:                   "write customHandler",
		`{"Version": "2.0", "version": "2.0"}`: "twice with different case",
	} {
		_, err := Read(stage(t, map[string]string{"host.json": text, "f/function.json": httpFunction("")}), nil)
		assert.ErrorContains(t, err, says, text)
	}
	_, err := Read(stage(t, nil), nil)
	require.ErrorContains(t, err, "host.json: reading it: file does not exist")
	_, err = Read(filepath.Join(t.TempDir(), "nowhere"), nil)
	require.ErrorContains(t, err, "stage the app first")
	_, err = Read(stage(t, map[string]string{"host.json": goodHost}), nil)
	require.ErrorContains(t, err, "has no function")
	_, err = Read(stage(t, map[string]string{"host.json": goodHost}), Settings{"AzureFunctionsJobHost__logging": "x"})
	require.ErrorContains(t, err, "write it into host.json")
}

func TestRefusesInFunctionJSON(t *testing.T) {
	t.Parallel()
	out := `{"type": "http", "direction": "out", "name": "res"}`
	timer := func(more string) string { return bindings(`{"type": "timerTrigger", "name": "t"` + more + `}`) }
	bus := func(more string) string {
		return bindings(`{"type": "serviceBusTrigger", "name": "m", "connection": "SB"` + more + `}`)
	}
	for text, says := range map[string]string{
		`{}`: "has 0 triggers",
		bindings(`{"type": "httpTrigger", "name": "a"}`, `{"type": "timerTrigger", "name": "b", "schedule": "0 * * * * *"}`, out): "has 2 triggers",
		bindings(`{"type": "httpTrigger", "name": "a", "authLevel": "anonymous"}`):                                                "has 0 http outputs",
		bindings(`{"type": "timerTrigger", "name": "b", "schedule": "0 * * * * *"}`, out):                                         "without an httpTrigger",
		bindings(`{"type": "httpTrigger", "name": "a"}`, out):                                                                     `bindings[0].authLevel: is "function"`,
		bindings(`{"type": "httpTrigger", "authLevel": "anonymous"}`, out):                                                        "has no name",
		bindings(`{"type": "queueTrigger", "name": "a"}`):                                                                         `"queueTrigger" is not done here`,
		bindings(`{"type": "queue", "direction": "out", "name": "a"}`):                                                            "is not done here: one trigger",
		httpFunction(`, "route": "/x"`):                                                                                           "begins with a slash",
		httpFunction(`, "route": "x/{id:nope}"`):                                                                                  `constraint "nope" is not known`,
		httpFunction(`, "route": "admin/x"`):                                                                                      "belongs to the host",
		httpFunction(`, "rute": "x"`):                                                                                             "rute is not known here",
		httpFunction(`, "methods": "get"`):                                                                                        "must be a list of texts",
		`{"retry": {}, ` + httpFunction("")[1:]:                                                                                   "retry: is not done here",
		timer(`, "schedule": "0 0 25 * * *"`):                                                                                     "end of range",
		timer(`, "schedule": "00:05:00"`):                                                                                         "Dedicated plans",
		timer(`, "schedule": "@hourly"`):                                                                                          "not NCRONTAB",
		timer(`, "schedule": "%NOPE%"`):                                                                                           "setting NOPE, which is not set",
		timer(`, "schedule": "0 0 0 31 2 *"`):                                                                                     "never comes",
		timer(``):                                                                                                                 `schedule ""`,
		bus(`, "dataType": "binary"`):                                                                                             "needs either queueName",
		bus(`, "queueName": "q", "topicName": "t"`):                                                                               "needs either queueName",
		bus(`, "topicName": "t"`):                                                                                                 "needs either queueName",
		bus(`, "queueName": "%NOPE%"`):                                                                                            "setting NOPE",
		bus(`, "queueName": "q", "cardinality": "few"`):                                                                           `"one" or "many"`,
		bus(`, "queueName": "q", "cardinality": "many"`):                                                                          "abandon the whole batch",
		bus(`, "queueName": "q", "dataType": "stream"`):                                                                           `"binary" or "string"`,
		bus(`, "queueName": "q", "autoCompleteMessages": false`):                                                                  "must stay true",
		bindings(`{"type": "serviceBusTrigger", "name": "m", "queueName": "q", "connection": "X"}`):                               "neither X nor X__fullyQualifiedNamespace",
	} {
		_, err := Read(stage(t, map[string]string{"host.json": goodHost, "fn/function.json": text}), Settings{"SB": "x"})
		assert.ErrorContains(t, err, says, text)
	}
	_, err := Read(stage(t, map[string]string{"host.json": goodHost, "9x/function.json": httpFunction("")}), nil)
	require.ErrorContains(t, err, "not a name for a function")
}

func TestEveryMistakeAtOnce(t *testing.T) {
	t.Parallel()
	_, err := Read(stage(t, map[string]string{
		"host.json":       `{"version": "3", "functionTimeout": 5}`,
		"a/function.json": httpFunction(`, "route": "{"`),
		"b/function.json": "nope",
	}), nil)
	for _, says := range []string{"version", "functionTimeout: must be text", "defaultExecutablePath", "no closing }", "b/function.json: line 1"} {
		require.ErrorContains(t, err, says)
	}
}

func TestWarnsOfShadowedRoutes(t *testing.T) {
	t.Parallel()
	a, err := Read(stage(t, map[string]string{
		"host.json":            goodHost,
		"catch/function.json":  httpFunction(`, "route": "{*all}", "methods": ["get", "put"]`),
		"orders/function.json": httpFunction(`, "route": "orders", "methods": ["put", "post"]`),
		"all/function.json":    httpFunction(`, "route": "x"`),
		"zall/function.json":   httpFunction(`, "route": "{*all}", "methods": ["patch"]`),
	}), nil)
	require.NoError(t, err)
	assert.Equal(t, []string{"function orders (orders) is never reached for PUT: catch ({*all}) is tried before it and matches the same paths"}, a.Warnings)
}

// The command line that was seen on the real host.
func TestCommandLine(t *testing.T) {
	t.Parallel()
	dir := stage(t, map[string]string{
		"host.json": `{"version": "2.0", "customHandler": {"enableProxyingHttpRequest": true, "description": {"defaultExecutablePath": "%EXE%",
			"arguments": ["-u"], "defaultWorkerPath": "h.py", "workerArguments": ["a b", "%HOME%", "%NOPE%", "--x=\"q\""]}}}`,
		"f/function.json": httpFunction(`, "route": "{x}"`),
	})
	a, err := Read(dir, Settings{"HOME": "/h", "EXE": "sh"})
	require.NoError(t, err)
	assert.Equal(t, []string{"-u", "h.py", "a", "b", "/h", "--x=q"}, a.Args)
	assert.Equal(t, "sh", filepath.Base(a.Executable), "a command that is no file of the app is looked up on PATH")
	assert.Equal(t, 30*time.Minute, a.FunctionTimeout)
	assert.Equal(t, "api/{x}", a.Functions[0].HTTP.Route.String(), "the prefix defaults to api")
}

func TestSchedule(t *testing.T) {
	t.Parallel()
	from := time.Date(2026, 11, 24, 12, 0, 0, 0, time.FixedZone("x", 3600)) // a Tuesday, 11:00 UTC
	for text, next := range map[string]string{
		"*/5 * * * * *":     "2026-11-24T11:00:05Z",
		"0 */5 * * * *":     "2026-11-24T11:05:00Z",
		"*/5 * * * *":       "2026-11-24T11:05:00Z",
		"0 0 12 * * *":      "2026-11-24T12:00:00Z", // noon in UTC, whatever the machine's zone
		"0 0 0 * * mon":     "2026-11-30T00:00:00Z",
		"0 0 0 13 * fri":    "2027-08-13T00:00:00Z", // both, where cron would take either
		"0 30 9-17/4 * * *": "2026-11-24T13:30:00Z",
	} {
		s, err := ParseSchedule(text)
		require.NoError(t, err, text)
		assert.Equal(t, next, s.Next(from).Format(time.RFC3339), text)
		assert.Equal(t, text, s.String())
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	var bad mistakes
	l := newLevels(map[string]string{"default": "Warning", "Function": "Error", "Function.orders": "Debug", "Host": "None"}, "x", &bad)
	require.Empty(t, bad.all)
	assert.True(t, l.Enabled("Other", slog.LevelWarn))
	assert.False(t, l.Enabled("Other", slog.LevelInfo))
	assert.False(t, l.Enabled("Function.carts", slog.LevelWarn))
	assert.True(t, l.Enabled("function.orders.User", slog.LevelDebug), "the longest prefix decides, without case")
	assert.False(t, l.Enabled("Host.Function.Console", LevelCritical))
	assert.True(t, newLevels(nil, "x", &bad).Enabled("Any", slog.LevelInfo), "Information is the default")
}
