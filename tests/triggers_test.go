package tests

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/robfig/cron/v3"
)

// binding is one binding of a function.json, as far as the rules look.
type binding struct {
	Type, Direction, AuthLevel, Route, Schedule, DataType string
	QueueName, TopicName, SubscriptionName                string
	Methods                                               []string
}

// function is one function.json under its staged name: its path with - for /.
type function struct {
	name     string
	bindings []binding
}

// trigger is a line as it stands in handler/routes.go: a composite literal with Function and either Route,
// Timer, Queue, or Topic and Subscription, all of them string literals.
type trigger struct {
	Function, Route, Timer, Queue, Topic, Subscription string
}

func functions(root fs.FS) ([]function, error) {
	var out []function
	err := fs.WalkDir(root, "functions", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "function.json" {
			return err
		}
		raw, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		var file struct{ Bindings []binding }
		if err := json.Unmarshal(raw, &file); err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		name := strings.TrimSuffix(strings.TrimPrefix(p, "functions/"), "/function.json")
		out = append(out, function{strings.ReplaceAll(name, "/", "-"), file.Bindings})
		return nil
	})
	slices.SortFunc(out, func(a, b function) int { return strings.Compare(a.name, b.name) })
	return out, err
}

// trigger is the function's only trigger, as routes.go would write it.
func (f function) trigger() (trigger, error) {
	found := trigger{}
	count := 0
	for _, b := range f.bindings {
		switch b.Type {
		case "httpTrigger":
			found = trigger{Function: f.name, Route: b.Route}
		case "timerTrigger":
			found = trigger{Function: f.name, Timer: b.Schedule}
		case "serviceBusTrigger":
			found = trigger{Function: f.name, Queue: b.QueueName, Topic: b.TopicName, Subscription: b.SubscriptionName}
		default:
			continue
		}
		count++
	}
	if count != 1 {
		return trigger{}, fmt.Errorf("%s has %d triggers, not one", f.name, count)
	}
	return found, nil
}

var sevenMethods = []string{"delete", "get", "head", "options", "patch", "post", "put"}

func triggerRules(root fs.FS) (broken []string, err error) {
	all, err := functions(root)
	for _, f := range all {
		say := func(format string, args ...any) { broken = append(broken, f.name+": "+fmt.Sprintf(format, args...)) }
		if _, err := f.trigger(); err != nil {
			broken = append(broken, err.Error())
		}
		for _, b := range f.bindings {
			switch b.Type {
			case "httpTrigger":
				methods := slices.Sorted(slices.Values(b.Methods))
				if !slices.Equal(methods, sevenMethods) {
					say("methods are %v, not %v", methods, sevenMethods)
				}
				if b.AuthLevel != "anonymous" {
					say("authLevel is %q: the handler checks tokens, not keys", b.AuthLevel)
				}
				if b.Route == "" || strings.HasPrefix(b.Route, "{") {
					say("route %q would take the whole root", b.Route)
				}
				if len(f.bindings) != 2 || b.Direction != "in" ||
					!slices.ContainsFunc(f.bindings, func(o binding) bool { return o.Type == "http" && o.Direction == "out" }) {
					say("is proxied only with exactly one httpTrigger in and one http out")
				}
			case "timerTrigger":
				withSeconds := cron.NewParser(cron.Second | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow)
				if _, err := withSeconds.Parse(b.Schedule); err != nil {
					say("schedule %q: %v", b.Schedule, err)
				}
			case "serviceBusTrigger":
				if b.DataType != "binary" {
					say("dataType is %q, not binary: a JSON body would overwrite the metadata", b.DataType)
				}
			}
		}
	}
	return broken, err
}

// routeOverlap finds pairs of routes that match one path: which one answers would hang on the functions' names.
func routeOverlap(root fs.FS) (broken []string, err error) {
	all, err := functions(root)
	var routed []trigger
	for _, f := range all {
		t, err := f.trigger()
		if err != nil {
			return nil, err
		}
		if t.Route == "" {
			continue
		}
		for _, earlier := range routed {
			if overlap(strings.Split(earlier.Route, "/"), strings.Split(t.Route, "/")) {
				broken = append(broken, fmt.Sprintf("%s (%s) takes requests of %s (%s)", earlier.Function, earlier.Route, t.Function, t.Route))
			}
		}
		routed = append(routed, t)
	}
	return broken, err
}

func overlap(a, b []string) bool {
	rest := func(s []string) bool { return len(s) > 0 && strings.HasPrefix(s[0], "{*") }
	switch {
	case rest(a) || rest(b):
		return true
	case len(a) == 0 || len(b) == 0:
		return len(a) == len(b)
	}
	return segmentsMeet(a[0], b[0]) && overlap(a[1:], b[1:])
}

// segmentsMeet compares what is before and after the parameters; the host ignores case.
func segmentsMeet(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	head := func(s string) (string, bool) { h, _, cut := strings.Cut(s, "{"); return h, cut }
	ha, pa := head(a)
	hb, pb := head(b)
	switch {
	case !pa && !pb:
		return a == b
	case !pa:
		return strings.HasPrefix(a, hb) && strings.HasSuffix(a, b[strings.LastIndexByte(b, '}')+1:])
	case !pb:
		return segmentsMeet(b, a)
	}
	return strings.HasPrefix(ha, hb) || strings.HasPrefix(hb, ha)
}

// routesMatch compares handler/routes.go with the function.json files.
func routesMatch(root fs.FS) (broken []string, err error) {
	src, err := fs.ReadFile(root, "handler/routes.go")
	if err != nil {
		return nil, err
	}
	listed, err := tables(src)
	if err != nil {
		return nil, err
	}
	all, err := functions(root)
	if err != nil {
		return nil, err
	}
	for _, f := range all {
		t, err := f.trigger()
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(listed, func(l trigger) bool { return l.Function == t.Function })
		if i < 0 {
			broken = append(broken, t.Function+" has a function.json and no line in handler/routes.go")
			continue
		}
		if listed[i] != t {
			broken = append(broken, fmt.Sprintf("%s: routes.go says %+v, function.json %+v", t.Function, listed[i], t))
		}
		listed = slices.Delete(listed, i, i+1)
	}
	for _, l := range listed {
		broken = append(broken, l.Function+" has a line too many in handler/routes.go, or no function.json")
	}
	return broken, nil
}

// tables reads every composite literal that names a Function.
func tables(src []byte) (out []trigger, err error) {
	file, err := parser.ParseFile(token.NewFileSet(), "routes.go", src, 0)
	if err != nil {
		return nil, err
	}
	ast.Inspect(file, func(n ast.Node) bool {
		lit, ok := n.(*ast.CompositeLit)
		if !ok {
			return true
		}
		var t trigger
		members := map[string]*string{
			"Function": &t.Function, "Route": &t.Route, "Timer": &t.Timer,
			"Queue": &t.Queue, "Topic": &t.Topic, "Subscription": &t.Subscription,
		}
		for _, e := range lit.Elts {
			pair, ok := e.(*ast.KeyValueExpr)
			if !ok {
				continue
			}
			key, _ := pair.Key.(*ast.Ident)
			if key == nil || members[key.Name] == nil {
				continue
			}
			value, _ := pair.Value.(*ast.BasicLit)
			if value == nil || value.Kind != token.STRING {
				err = errors.Join(err, fmt.Errorf("handler/routes.go: %s is not a string literal", key.Name))
				continue
			}
			text, unquoteErr := strconv.Unquote(value.Value)
			err = errors.Join(err, unquoteErr)
			*members[key.Name] = text
		}
		if t.Function != "" {
			out = append(out, t)
		}
		return true
	})
	return out, err
}
