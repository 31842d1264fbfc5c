package app

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The real host's defaults.
const (
	defaultInitTimeout     = 30 * time.Second
	defaultFunctionTimeout = 30 * time.Minute
)

// readHost reads host.json and returns the route prefix.
func (a *App) readHost(settings Settings, bad *mistakes) (prefix string) {
	root := readFile(filepath.Join(a.Dir, "host.json"), "host.json", bad)
	if len(root.members) == 0 {
		return ""
	}
	if version := root.text("version", ""); version != "2.0" {
		bad.add("host.json: version", `must be "2.0", is %q`, version)
	}
	a.FunctionTimeout = root.span("functionTimeout", defaultFunctionTimeout)
	switch {
	case a.FunctionTimeout < 0:
		a.FunctionTimeout = 0
	case a.FunctionTimeout < time.Second:
		bad.add("host.json: functionTimeout", "%s is under the host's minimum of a second; -1 means no limit", a.FunctionTimeout)
	}
	a.readCustomHandler(root.sub("customHandler"), settings, bad)

	extensions := root.sub("extensions")
	http := extensions.sub("http")
	prefix = strings.Trim(http.text("routePrefix", "api"), "/")
	a.CustomHeaders = http.textMap("customHeaders")
	for _, name := range []string{"maxOutstandingRequests", "maxConcurrentRequests"} {
		if n := http.number(name, -1); n != -1 {
			bad.add("host.json: extensions.http."+name, "is %d, and its 429 comes without Retry-After; leave it out, the handler admits better", n)
		}
	}
	if http.yes("dynamicThrottlesEnabled", false) {
		bad.add("host.json: extensions.http.dynamicThrottlesEnabled", "is not done here; leave it out")
	}
	http.ignore("hsts") // seen to send nothing over http
	http.close()
	a.readServiceBus(extensions.sub("serviceBus"), bad)
	extensions.close()

	logging := root.sub("logging")
	a.Levels = newLevels(logging.textMap("logLevel"), "host.json: logging.logLevel", bad)
	logging.ignore("applicationInsights", "fileLoggingMode", "console")
	logging.close()

	root.ignore("extensionBundle", "healthMonitor", "concurrency", "telemetryMode", "aggregator", "singleton", "watchDirectories", "watchFiles")
	for member, why := range map[string]string{ //nolint:gosec // names of settings
		"configurationProfile": "its routes can't live beside function.json files; leave it out",
		"retry":                "a retry policy for all functions is not done here; leave it out",
		"functions":            "running only some functions is not done here; leave it out",
		"httpWorker":           "is the deprecated name; write customHandler",
	} {
		if _, where, ok := root.get(member); ok {
			bad.add(where, "%s", why)
		}
	}
	root.close()
	return prefix
}

func (a *App) readServiceBus(bus *section, bad *mistakes) {
	const where = "host.json: extensions.serviceBus"
	a.serviceBus = ServiceBusTrigger{
		MaxCalls: bus.number("maxConcurrentCalls", 16), MaxBatch: bus.number("maxMessageBatchSize", 1000),
		MaxRenew: bus.span("maxAutoLockRenewalDuration", 5*time.Minute),
	}
	if a.serviceBus.MaxCalls < 1 || a.serviceBus.MaxBatch < 1 {
		bad.add(where, "maxConcurrentCalls and maxMessageBatchSize must be at least 1")
	}
	if !bus.yes("autoCompleteMessages", true) {
		bad.add(where+".autoCompleteMessages", "must stay true: a custom handler can't complete a message itself")
	}
	bus.ignore("prefetchCount", "clientRetryOptions", "maxConcurrentSessions", "transportType", "maxBatchWaitTime", "minMessageBatchSize")
	bus.close()
}

func (a *App) readCustomHandler(custom *section, settings Settings, bad *mistakes) {
	const where = "host.json: customHandler"
	description := custom.sub("description")
	a.InitTimeout = custom.span("initializationTimeout", defaultInitTimeout)
	if a.InitTimeout <= 0 {
		bad.add(where+".initializationTimeout", "must be more than nothing")
	}
	custom.yes("enableForwardingHttpRequest", false) // proxying wins over it
	if !custom.yes("enableProxyingHttpRequest", false) {
		bad.add(where+".enableProxyingHttpRequest", "must be true: the other two ways of handing HTTP over lose headers and bodies, and are not done here")
	}
	if port := custom.number("port", 0); port != 0 {
		bad.add(where+".port", "is %d; a fixed port is not done here, leave it out and read FUNCTIONS_CUSTOMHANDLER_PORT", port)
	}
	if kind := custom.text("type", "http"); !strings.EqualFold(kind, "http") {
		bad.add(where+".type", `must be "http", is %q`, kind)
	}
	if len(custom.sub("http").list("routes")) > 0 {
		bad.add(where+".http.routes", "can't live beside function.json files")
	}
	custom.close()

	a.WorkingDirectory = inside(a.Dir, description.text("workingDirectory", ""))
	if info, err := os.Stat(a.WorkingDirectory); err != nil || !info.IsDir() {
		bad.add(where+".description.workingDirectory", "%s is not a folder", a.WorkingDirectory)
	}
	executable := settings.expand(description.text("defaultExecutablePath", ""))
	directory := inside(a.Dir, description.text("workerDirectory", ""))
	line := strings.Join(description.texts("arguments"), " ")
	if path := description.text("defaultWorkerPath", ""); path != "" {
		line += ` "` + path + `"`
	}
	line += " " + strings.Join(description.texts("workerArguments"), " ")
	a.Args = arguments(settings.expand(line))
	description.close()

	if executable == "" {
		bad.add(where+".description.defaultExecutablePath", "is required: the handler's file name")
		return
	}
	var err error
	if a.Executable, err = findExecutable(directory, executable); err != nil {
		bad.add(where+".description.defaultExecutablePath", "%w; build and stage the handler first", err)
	}
}

// findExecutable takes a file below the worker directory if there is one, else a command on PATH.
func findExecutable(directory, name string) (string, error) {
	path := inside(directory, name)
	if _, err := os.Stat(path); err != nil && !filepath.IsAbs(name) && !strings.ContainsRune(name, filepath.Separator) {
		path = name
	}
	return exec.LookPath(path)
}

func inside(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// arguments cuts a command line as .NET does: at blanks that are not between double quotes, which then vanish. The
// host joins its lists of arguments with blanks and quotes nothing itself, so "a b" in host.json is two arguments.
func arguments(line string) []string {
	var all []string
	var current strings.Builder
	quoted, started := false, false
	for _, r := range line {
		switch {
		case r == '"':
			quoted, started = !quoted, true
		case (r == ' ' || r == '\t') && !quoted:
			if started {
				all = append(all, current.String())
				current.Reset()
				started = false
			}
		default:
			current.WriteRune(r)
			started = true
		}
	}
	if started {
		all = append(all, current.String())
	}
	return all
}
