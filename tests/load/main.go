// Command load measures what one handler does on this machine, and says each number beside a reference measured in
// the same run, since numbers of different machines, or of one machine on different days, do not compare.
//
// Generator, handler, PostgreSQL, Redis and the broker share the machine, each in a process of its own, and for each phase
// the processor time of each is told per operation: that number means something on a noisy machine too. Orders are
// compared with pgbench writing the same rows; product reads with a bare net/http server that sends the same bytes.
// Rounds repeat the phases in turn, so that what disturbs the machine disturbs subject and reference alike, and medians
// are printed. Afterwards the books are checked (audit.go), and a broken promise fails the run.
//
// Read main.go, then bench.go (a run from its start to its end), stack.go (what runs), phases.go, curve.go, mixed.go, overload.go
// and large.go (what is measured), traffic.go and requests.go (what is asked), closed.go, open.go and meter.go (how it is
// measured), children.go, listener.go and hosted.go (the other processes), pgbench.go, pgscript.go and redisbench.go (the references),
// audit.go, and table.go, bars.go, report.go and pictures.go (what is told). Package wire is the client, package proc the reader
// of processor times, package plot draws.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command line.
type options struct {
	connections int
	duration    time.Duration
	rounds      int
	customers   int
	only        []string
	environment []string
	trace       float64 // part of the traces that is recorded; below 0 there are none
	profile     string
	docs        string
	strict      bool

	curveTime, mixedTime time.Duration
	openConnections      int
	largeOrders          int
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) == 1 {
		if serve, ok := children[args[0]]; ok {
			debug.SetGCPercent(800) // as the handler does, so that the bare server is no worse off
			return serve(ctx, in)
		}
	}
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	// The generator allocates next to nothing while it measures: what it holds are tokens and histograms.
	debug.SetGCPercent(1000)
	b, err := prepare(ctx, o, out)
	if err != nil {
		return err
	}
	defer b.stop()
	return b.measure(ctx)
}

// list is a flag that may be given more than once.
type list []string

func (l *list) String() string         { return strings.Join(*l, " ") }
func (l *list) Set(value string) error { *l = append(*l, value); return nil }

func parse(args []string, out io.Writer) (options, error) {
	var o options
	var only string
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&o.connections, "connections", 128, "connections of the load generator and of pgbench")
	flags.DurationVar(&o.duration, "duration", 5*time.Second, "how long a phase lasts, in whole seconds")
	flags.IntVar(&o.rounds, "rounds", 2, "how often the phases are measured")
	flags.IntVar(&o.customers, "customers", 6000, "how many customers send orders, each with a token of its own")
	flags.StringVar(&only, "only", "", "measure only these, separated by commas: "+strings.Join(phaseNames(), ", "))
	flags.Var((*list)(&o.environment), "env", "NAME=VALUE for the handler's environment; may be repeated")
	flags.Float64Var(&o.trace, "trace", -1, "have the handler record this part of its traces (0 to 1) and push them, with metrics and logs, to a collector; to be compared with a run without")
	flags.StringVar(&o.profile, "profile", "", "folder for processor profiles of the handler, one for each phase, taken with perf")
	flags.DurationVar(&o.curveTime, "curve-duration", 2*time.Second, "how long each point of the scaling curve lasts, in whole seconds")
	flags.DurationVar(&o.mixedTime, "mixed-duration", time.Minute, "how long the mixed run lasts")
	flags.IntVar(&o.openConnections, "mixed-connections", 256, "connections of the mixed run, whose arrivals have a schedule")
	flags.IntVar(&o.largeOrders, "large-orders", 1_000_000, "how many orders the large database holds before it is measured")
	flags.StringVar(&o.docs, "docs", "", "folder for benchmarks.md and its pictures (images/*.svg)")
	flags.BoolVar(&o.strict, "strict", false, "fail when a bar is missed; a broken promise always fails the run")
	flags.Usage = func() {
		fmt.Fprintln(out, "Measures what one handler does on this machine against references in the same run, and checks the books.\n"+
			"Run it with `make bench ARGS='[flags]'`, or: go run ./infra/local services --durable -- go run ./tests/load [flags]\n"+
			"For a look at one thing in seconds: --only orders --rounds 1")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		if !slices.Contains(phaseNames(), name) {
			return o, fmt.Errorf("--only %s: there is no such phase; there are %s", name, strings.Join(phaseNames(), ", "))
		}
	}
	for _, pair := range o.environment {
		if name, _, ok := strings.Cut(pair, "="); !ok || name == "" {
			return o, fmt.Errorf("--env %s: must be NAME=VALUE", pair)
		}
	}
	switch {
	case o.trace > 1:
		return o, errors.New("--trace must be between 0 and 1")
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is not a flag: --help lists them", flags.Arg(0))
	case o.connections < 1 || o.connections > 1000:
		return o, errors.New("--connections must be between 1 and 1000")
	case o.duration < time.Second || o.duration%time.Second != 0:
		return o, errors.New("--duration must be whole seconds, as pgbench knows no others: 10s")
	case o.curveTime < time.Second || o.curveTime%time.Second != 0:
		return o, errors.New("--curve-duration must be whole seconds, as pgbench knows no others: 2s")
	case o.mixedTime < time.Second:
		return o, errors.New("--mixed-duration must be at least 1s")
	case o.openConnections < 1 || o.openConnections > 5000:
		return o, errors.New("--mixed-connections must be between 1 and 5000")
	case o.largeOrders < 1000 || o.largeOrders > 10_000_000:
		return o, errors.New("--large-orders must be between 1000 and 10000000")
	case o.rounds < 1:
		return o, errors.New("--rounds must be at least 1")
	case o.customers < 1:
		return o, errors.New("--customers must be at least 1")
	}
	return o, nil
}
