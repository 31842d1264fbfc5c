package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/company/order-catalog-service/infra/local/child"
	"github.com/company/order-catalog-service/infra/local/issuer"
	"github.com/company/order-catalog-service/infra/local/stage"
)

// products is how many products orders are spread over; the one after the last is the hot one.
const products = 200

// bench is one run of the benchmark: what all stacks share.
type bench struct {
	options
	out           io.Writer
	server, redis string // addresses: PostgreSQL's as superuser
	dir, run      string
	binary        string // the handler
	pgbench       string // the program's path
	customers     *customers
	bare          target
	bareParts     []part
	closers       []func()
	patience      time.Duration // until every event must have been heard

	direct, hosted, largeStack *stack
	tracingStacks              []*stack

	results   map[string][]result // by phase, one per round
	curve     map[curveKey][]point
	redisRows []redisRow
	mixed     *mixedRun
	overload  []*overloadRun
	large     *largeRun
	tracing   *tracingRun
	events    map[string]*hdrhistogram.Histogram
}

// stop undoes what was started, last first.
func (b *bench) stop() {
	for _, c := range slices.Backward(b.closers) {
		c()
	}
}

// prepare builds the handler and makes what all stacks need.
func prepare(ctx context.Context, o options, out io.Writer) (*bench, error) {
	b := &bench{options: o, out: out, server: os.Getenv("TEST_DATABASE_URL"), redis: os.Getenv("TEST_REDIS_URL"), run: rand.Text()[:12], patience: 2 * time.Minute, results: map[string][]result{}, curve: map[curveKey][]point{}}
	if b.server == "" || b.redis == "" {
		return nil, errors.New("TEST_DATABASE_URL and TEST_REDIS_URL are not set: run `make bench`")
	}
	for _, step := range []func() error{
		func() (err error) { b.pgbench, err = findPgbench(); return err },
		func() error { return b.makeDir() },
		func() error { return b.build(ctx) },
		func() error { return b.makeCustomers() },
	} {
		if err := step(); err != nil {
			b.stop()
			return nil, err
		}
	}
	return b, nil
}

func (b *bench) makeDir() (err error) {
	if b.dir, err = os.MkdirTemp("", "load-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	b.closers = append(b.closers, func() { _ = os.RemoveAll(b.dir) })
	return nil
}

// build builds the handler as it is shipped; for a profile with the names of its functions, which change nothing else.
func (b *bench) build(ctx context.Context) error {
	b.say("building the handler")
	b.binary = filepath.Join(b.dir, "handler")
	if b.profile == "" {
		return stage.Build(ctx, ".", b.binary, stage.BuildOptions{})
	}
	if err := os.MkdirAll(b.profile, 0o755); err != nil { //nolint:gosec // profiles for everybody
		return fmt.Errorf("making the folder for profiles: %w", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", b.binary, "./handler") //nolint:gosec // a path of ours
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the handler: %w\n%s", err, said)
	}
	return nil
}

func (b *bench) makeCustomers() error {
	tokens, stop, err := issuer.Serve("127.0.0.1:0", issuer.Options{})
	if err != nil {
		return err
	}
	b.closers = append(b.closers, stop)
	b.say("signing %d tokens", b.options.customers)
	b.customers = &customers{issuer: tokens, count: b.options.customers}
	return b.customers.sign()
}

// say tells what is going on.
func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, time.Now().Format("15:04:05 ")+format+"\n", args...)
}

// wants says whether a phase is to be measured.
func (b *bench) wants(names ...string) bool {
	return len(b.only) == 0 || slices.ContainsFunc(names, func(name string) bool { return slices.Contains(b.only, name) })
}

// measure runs the phases and checks the books.
func (b *bench) measure(ctx context.Context) error {
	var err error
	if b.direct, err = b.start(ctx, settings{name: "small", products: products + 1}); err != nil {
		return err
	}
	if err := prepareReference(ctx, b.direct.db, b.dir); err != nil {
		return err
	}
	if err := b.startBare(ctx, b.direct); err != nil {
		return err
	}
	b.say("warming up")
	for _, next := range []func(*worker){spreadOrder, oneProduct} {
		if _, err := closed(ctx, b.direct.target(), b.connections, 2*time.Second, next); err != nil {
			return fmt.Errorf("warming up: %w", err)
		}
	}
	if err := b.direct.rest(ctx); err != nil {
		return err
	}
	for round := range b.rounds {
		for _, p := range b.phases() {
			if !b.wants(p.name) {
				continue
			}
			if err := b.phase(ctx, p, round); err != nil {
				return fmt.Errorf("phase %s: %w", p.name, err)
			}
		}
	}
	if b.events, err = b.direct.eventLatencies(ctx); err != nil {
		return err
	}
	for _, once := range []struct {
		name string
		run  func(context.Context) error
	}{{"redis", b.redisReference}, {"curve", b.measureCurve}, {"mixed", b.measureMixed}, {"overload", b.measureOverload}, {"tracing", b.measureTracing}, {"large", b.measureLarge}} {
		if !b.wants(once.name) {
			continue
		}
		if err := once.run(ctx); err != nil {
			return fmt.Errorf("phase %s: %w", once.name, err)
		}
	}
	return b.conclude(ctx)
}

// conclude checks the books, tells what was measured and holds it against the bars. The books come first: numbers of
// a service that breaks its promises are worth nothing.
func (b *bench) conclude(ctx context.Context) error {
	b.say("checking the books")
	var broken []error
	for _, s := range append([]*stack{b.direct, b.hosted, b.largeStack}, b.tracingStacks...) {
		if s != nil {
			broken = append(broken, s.audit(ctx))
		}
	}
	if err := errors.Join(broken...); err != nil {
		return err
	}
	return b.report(ctx)
}

// phase measures one phase once.
func (b *bench) phase(ctx context.Context, p phase, round int) error {
	if err := b.customers.sign(); err != nil {
		return err
	}
	stop, err := b.profiled(ctx, p.name, p.stack, round)
	if err != nil {
		return err
	}
	r, err := metered(p.parts, func() (result, error) { return p.run(ctx) })
	if err = errors.Join(err, stop()); err != nil {
		return err
	}
	b.results[p.name] = append(b.results[p.name], r)
	b.tell(fmt.Sprintf("round %d/%d  %s", round+1, b.rounds, p.title), &r)
	if p.stack == nil {
		return nil
	}
	return p.stack.rest(ctx)
}

// tell prints what a phase saw.
func (b *bench) tell(what string, r *result) {
	b.say("%-48s %8.0f/s  p50 %.2f  p99 %.2f ms  %s", what, r.rate(), at(r.latencies, 50), at(r.latencies, 99), costs(r))
	if r.all(shed)+r.all(limited)+r.all(failed)+r.unsent > 0 {
		b.say("    overloaded %d, over a quota %d, failed %d, not sent %d; first failure: %s", r.all(shed), r.all(limited), r.all(failed), r.unsent, r.firstFail)
	}
}

// costs is a result's processor time per operation, part by part.
func costs(r *result) string {
	var list []string
	for _, u := range r.cpu {
		list = append(list, fmt.Sprintf("%s %.0f", u.part, r.each(u)))
	}
	if list == nil {
		return ""
	}
	return "µs each: " + strings.Join(list, ", ")
}

// profiled takes a processor profile of the phase's handler, when one is asked for, until stop.
func (b *bench) profiled(ctx context.Context, phase string, s *stack, round int) (stop func() error, err error) {
	if b.profile == "" || s == nil {
		return func() error { return nil }, nil
	}
	file := filepath.Join(b.profile, fmt.Sprintf("%s-%d.perf", phase, round+1))
	cmd := exec.Command("perf", "record", "-q", "-F", "499", "-g", "-p", fmt.Sprint(s.handler), "-o", file) //nolint:gosec,noctx // ends with stop
	cmd.Stderr = os.Stderr
	process, err := child.Start(cmd, syscall.SIGINT)
	if err != nil {
		return nil, fmt.Errorf("--profile needs perf on PATH: %w", err)
	}
	return func() error {
		process.Stop(syscall.SIGINT, 30*time.Second)
		report, err := exec.CommandContext(ctx, "perf", "report", "--stdio", "--no-children", "-g", "none", "-i", file).Output() //nolint:gosec // a path of ours
		if err != nil {
			return fmt.Errorf("reading the profile: %w", err)
		}
		return os.WriteFile(strings.TrimSuffix(file, ".perf")+".txt", report, 0o644) //nolint:gosec // for everybody
	}, nil
}
