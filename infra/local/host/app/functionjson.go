package app

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/company/order-catalog-service/infra/local/host/route"
)

// readFunction reads one function.json; enabled is false for a disabled function and for one with mistakes.
func readFunction(file, name, prefix string, settings Settings, bad *mistakes) (f Function, enabled bool) {
	before := len(bad.all)
	label := name + "/function.json"
	root := readFile(file, label, bad)
	if len(bad.all) > before {
		return f, false
	}
	f.Name = name
	disabled := root.yes("disabled", false)
	for _, member := range []string{"retry", "scriptFile", "entryPoint"} {
		if _, where, ok := root.get(member); ok {
			bad.add(where, "is not done here; leave it out")
		}
	}
	bindings := root.list("bindings")
	root.close()

	var triggers, outputs int
	for _, b := range bindings {
		kind := b.text("type", "")
		direction := b.text("direction", "in")
		binding := b.text("name", "")
		if binding == "" {
			bad.add(b.path, "has no name")
		}
		switch {
		case strings.EqualFold(kind, "http") && strings.EqualFold(direction, "out"):
			outputs++
		case strings.HasSuffix(strings.ToLower(kind), "trigger") && strings.EqualFold(direction, "in"):
			triggers++
			f.readTrigger(b, kind, binding, prefix, settings)
		default:
			bad.add(b.path, "a binding of type %q and direction %q is not done here: one trigger, and for httpTrigger one http out", kind, direction)
			continue
		}
		b.close()
	}
	if triggers != 1 {
		bad.add(label, "has %d triggers; a function has exactly one", triggers)
	}
	if f.HTTP != nil && outputs != 1 {
		bad.add(label, "has %d http outputs beside its httpTrigger; with exactly one the request is proxied, else it would come as an envelope", outputs)
	}
	if f.HTTP == nil && outputs > 0 {
		bad.add(label, "has an http output without an httpTrigger")
	}
	return f, len(bad.all) == before && !disabled
}

func (f *Function) readTrigger(b *section, kind, binding, prefix string, settings Settings) {
	switch strings.ToLower(kind) {
	case "httptrigger":
		f.HTTP = readHTTP(b, f.Name, prefix)
	case "timertrigger":
		f.Timer = readTimer(b, binding, settings)
	case "servicebustrigger":
		f.ServiceBus = readServiceBus(b, binding, settings)
	default:
		b.bad.add(b.path+".type", "%q is not done here: httpTrigger, timerTrigger or serviceBusTrigger", kind)
	}
}

func readHTTP(b *section, name, prefix string) *HTTPTrigger {
	t := &HTTPTrigger{}
	if level := b.text("authLevel", "function"); !strings.EqualFold(level, "anonymous") {
		b.bad.add(b.path+".authLevel", `is %q (the default is function); this host keeps no keys, so it must be "anonymous"`, level)
	}
	for _, method := range b.texts("methods") {
		t.Methods = append(t.Methods, strings.ToUpper(method))
	}
	b.ignore("dataType", "webHookType")
	own := b.text("route", name)
	full := strings.Trim(prefix+"/"+own, "/")
	template, err := route.Parse(full)
	if strings.HasPrefix(own, "/") {
		err = fmt.Errorf("route %q: begins with a slash; leave that out", own)
	}
	if err != nil {
		b.bad.add(b.path+".route", "%w", err)
		return t
	}
	if first, _, _ := strings.Cut(strings.ToLower(full), "/"); first == "admin" || first == "runtime" {
		b.bad.add(b.path+".route", "%q belongs to the host itself", full)
	}
	t.Route = template
	return t
}

func readTimer(b *section, binding string, settings Settings) *TimerTrigger {
	t := &TimerTrigger{Binding: binding, RunOnStartup: b.yes("runOnStartup", false)}
	monitor := b.yes("useMonitor", true)
	text, err := settings.resolve(b.text("schedule", ""))
	if err == nil {
		t.Schedule, err = ParseSchedule(text)
	}
	if err != nil {
		b.bad.add(b.path+".schedule", "%w", err)
		return t
	}
	t.Monitored = monitor && !t.Schedule.frequent(time.Now())
	return t
}

func readServiceBus(b *section, binding string, settings Settings) *ServiceBusTrigger {
	t := &ServiceBusTrigger{Binding: binding, Sessions: b.yes("isSessionsEnabled", false)}
	for name, into := range map[string]*string{"queueName": &t.Queue, "topicName": &t.Topic, "subscriptionName": &t.Subscription} {
		value, err := settings.resolve(b.text(name, ""))
		if err != nil {
			b.bad.add(b.path+"."+name, "%w", err)
			continue
		}
		*into = value
	}
	isQueue := t.Queue != "" && t.Topic == "" && t.Subscription == ""
	isTopic := t.Queue == "" && t.Topic != "" && t.Subscription != ""
	unresolved := b.has("queueName") && t.Queue == "" || b.has("topicName") && t.Topic == ""
	if !isQueue && !isTopic && !unresolved {
		b.bad.add(b.path, "needs either queueName, or topicName and subscriptionName")
	}
	t.Connection = b.text("connection", "ServiceBus")
	if _, plain := settings[t.Connection]; !plain && settings[t.Connection+"__fullyQualifiedNamespace"] == "" {
		b.bad.add(b.path+".connection", "neither %s nor %s__fullyQualifiedNamespace is set", t.Connection, t.Connection)
	}
	switch cardinality := strings.ToLower(b.text("cardinality", "one")); cardinality {
	case "one":
	case "many":
		t.Batch = true
	default:
		b.bad.add(b.path+".cardinality", `must be "one" or "many", is %q`, cardinality)
	}
	kinds := []string{"", "string", "binary"}
	kind := strings.ToLower(b.text("dataType", ""))
	if !slices.Contains(kinds, kind) {
		b.bad.add(b.path+".dataType", `must be "binary" or "string", is %q`, kind)
	}
	if t.Batch && kind == "" {
		b.bad.add(b.path+".dataType", `is missing: in a batch the host would then parse each body as JSON and abandon the whole batch for one that isn't; write "binary"`)
	}
	t.Binary = kind == "binary"
	if !b.yes("autoCompleteMessages", true) {
		b.bad.add(b.path+".autoCompleteMessages", "must stay true: a custom handler can't complete a message itself, so each would come back when its lock expires")
	}
	return t
}
