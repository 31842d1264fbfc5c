// Package app reads a staged Functions app, the folder with host.json and one child folder per function, into what
// a host needs to run it, and names every mistake in it at once.
//
// It is stricter than the real host, which ignores members it doesn't know: a misspelt setting is a mistake here, and
// so is one that the local host would not honour. Settings that only matter in Azure (bundle, sampling, health
// monitor, concurrency) are accepted and left alone.
//
// Read app.go, then hostjson.go and functionjson.go in the order of the files they read; section.go is how both
// look at JSON, schedule.go what a timer's expression means, levels.go which log lines are wanted.
package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/company/order-catalog-service/infra/local/host/route"
)

// App is one reading of a script root.
type App struct {
	Dir              string
	Executable       string // absolute
	Args             []string
	WorkingDirectory string
	InitTimeout      time.Duration
	FunctionTimeout  time.Duration // 0: none
	CustomHeaders    map[string]string
	Levels           Levels
	Functions        []Function // in the order in which routes are tried
	Warnings         []string

	serviceBus ServiceBusTrigger // what host.json says of all of them
}

// Function is one child folder with a function.json; exactly one of its triggers is set.
type Function struct {
	Name       string
	HTTP       *HTTPTrigger
	Timer      *TimerTrigger
	ServiceBus *ServiceBusTrigger
}

// HTTPTrigger is a route with the methods it takes.
type HTTPTrigger struct {
	Route   *route.Template // prefix included
	Methods []string        // upper case; empty: every method
}

// methods are those that the host knows.
var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

// Takes tells whether the function is for the method. What the host doesn't know (TRACE, CONNECT, QUERY) is for none.
func (t *HTTPTrigger) Takes(method string) bool {
	return slices.Contains(methods, method) && (len(t.Methods) == 0 || slices.Contains(t.Methods, method))
}

// TimerTrigger is a schedule.
type TimerTrigger struct {
	Binding      string
	Schedule     Schedule
	RunOnStartup bool
	// Monitored timers keep their status across restarts: useMonitor, and not more often than once a minute.
	Monitored bool
}

// ServiceBusTrigger names a queue, or a topic's subscription, and how its messages are handed over.
type ServiceBusTrigger struct {
	Binding      string
	Queue        string
	Topic        string
	Subscription string
	Connection   string // the setting that holds the connection, or the prefix of the __ settings of an identity
	Batch        bool   // cardinality "many"
	Binary       bool   // dataType "binary"
	Sessions     bool

	// From host.json's extensions.serviceBus, for all triggers alike.
	MaxCalls int           // invocations at once, when messages come one by one
	MaxBatch int           // messages of one batch
	MaxRenew time.Duration // how long the lock of a message that comes alone is renewed
}

// Settings are the app settings: the environment of the handler.
type Settings map[string]string

// NewSettings reads an environment in the form of os.Environ.
func NewSettings(environment []string) Settings {
	s := make(Settings, len(environment))
	for _, line := range environment {
		if name, value, ok := strings.Cut(line, "="); ok {
			s[name] = value
		}
	}
	return s
}

var percent = regexp.MustCompile(`%([^%\s]+)%`)

// expand puts settings in place of %NAME%; unset ones become nothing, as in the host's command line.
func (s Settings) expand(text string) string {
	return percent.ReplaceAllStringFunc(text, func(m string) string { return s[strings.Trim(m, "%")] })
}

// resolve does the same for a binding's attribute, where an unset name is a mistake.
func (s Settings) resolve(text string) (string, error) {
	for _, m := range percent.FindAllStringSubmatch(text, -1) {
		if _, ok := s[m[1]]; !ok {
			return "", fmt.Errorf("%s names the setting %s, which is not set", m[0], m[1])
		}
	}
	return s.expand(text), nil
}

// mistakes collects everything that is wrong, so that one reading shows it all.
type mistakes struct {
	all []error
}

func (m *mistakes) add(where, format string, args ...any) {
	m.all = append(m.all, fmt.Errorf("%s: %w", where, fmt.Errorf(format, args...)))
}

var functionName = regexp.MustCompile(`(?i)^[a-z][a-z0-9_-]{0,127}$`)

// Read reads the script root in dir. The error joins all mistakes.
func Read(dir string, settings Settings) (*App, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("script root: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("script root: %w; stage the app first", err)
	}
	var bad mistakes
	a := &App{Dir: dir}
	for name := range settings {
		if strings.HasPrefix(strings.ToLower(name), "azurefunctionsjobhost__") {
			bad.add("setting "+name, "overrides host.json, which this host does not follow; write it into host.json")
		}
	}
	prefix := a.readHost(settings, &bad)
	for _, entry := range entries {
		file := filepath.Join(dir, entry.Name(), "function.json")
		// A folder without function.json is no function; os.Stat also follows links, as the host does.
		if _, err := os.Stat(file); err != nil {
			continue
		}
		if name := entry.Name(); !functionName.MatchString(name) || strings.EqualFold(name, "host") {
			bad.add(name, "not a name for a function: a letter, then up to 127 letters, digits, - or _, and not host")
			continue
		}
		if f, enabled := readFunction(file, entry.Name(), prefix, settings, &bad); enabled {
			if f.ServiceBus != nil {
				f.ServiceBus.MaxCalls, f.ServiceBus.MaxBatch, f.ServiceBus.MaxRenew = a.serviceBus.MaxCalls, a.serviceBus.MaxBatch, a.serviceBus.MaxRenew
			}
			a.Functions = append(a.Functions, f)
		}
	}
	if len(bad.all) == 0 && len(a.Functions) == 0 {
		bad.add(dir, "has no function: no child folder holds a function.json that is enabled")
	}
	slices.SortStableFunc(a.Functions, func(x, y Function) int {
		return strings.Compare(strings.ToUpper(x.Name), strings.ToUpper(y.Name))
	})
	a.Warnings = append(a.Warnings, shadows(a.Functions)...)
	if len(bad.all) > 0 {
		return nil, errors.Join(bad.all...)
	}
	return a, nil
}

// shadows finds the routes that can't be reached because a function with a smaller name takes all their requests.
func shadows(functions []Function) []string {
	var found []string
	for i, later := range functions {
		for _, earlier := range functions[:i] {
			if earlier.HTTP == nil || later.HTTP == nil || !earlier.HTTP.Route.Covers(later.HTTP.Route) {
				continue
			}
			if lost := common(earlier.HTTP, later.HTTP); lost != "" {
				found = append(found, fmt.Sprintf("function %s (%s) is never reached for %s: %s (%s) is tried before it and matches the same paths",
					later.Name, later.HTTP.Route, lost, earlier.Name, earlier.HTTP.Route))
			}
		}
	}
	return found
}

func common(earlier, later *HTTPTrigger) string {
	if len(later.Methods) == 0 {
		later, earlier = earlier, later
	}
	if len(later.Methods) == 0 {
		return "any method"
	}
	var both []string
	for _, m := range later.Methods {
		if earlier.Takes(m) {
			both = append(both, m)
		}
	}
	return strings.Join(both, ", ")
}
