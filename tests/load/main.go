// The load command measures how many orders and product reads one handler serves on this machine, and says each
// as a ratio to a reference measured in the same run, since numbers of different machines, or of the same machine
// on different days, do not compare.
//
// Measured at the handler's own port, on 127.0.0.1, without a Functions host in between; load generator, handler,
// PostgreSQL, Redis and the broker share the machine, and the drain is running. Orders are compared with pgbench writing the same rows, one order per
// transaction; product reads with a bare net/http server that sends the same bytes. Rounds repeat all phases in
// turn, so that what disturbs the machine disturbs subject and reference alike, and the median ratio is printed.
// Afterwards the books are checked: no stock lost or invented, one order per key.
//
// Read main.go, then stack.go (what is measured), client.go (who measures), topic.go (who listens for the events) and
// pgbench.go (the reference).
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

// options are the command line.
type options struct {
	connections int
	duration    time.Duration
	rounds      int
	picture     string
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
	if len(args) == 1 && args[0] == bareCommand {
		return serveBare(ctx, in)
	}
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	s, err := start(ctx, o)
	if err != nil {
		return err
	}
	defer s.stop()

	results := map[string][]result{}
	for round := range o.rounds {
		for _, p := range s.phases() {
			r, err := p.run(ctx)
			if err != nil {
				return fmt.Errorf("phase %q: %w", p.name, err)
			}
			results[p.name] = append(results[p.name], r)
			fmt.Fprintf(out, "round %d/%d  %-32s %9.0f/s\n", round+1, o.rounds, p.name, r.rate)
		}
	}
	table(out, s.phases(), results)
	if err := s.tellTopic(out); err != nil {
		return err
	}
	return s.audit(ctx, out)
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("load", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&o.connections, "connections", 16, "connections of the load generator and of pgbench")
	flags.DurationVar(&o.duration, "duration", 10*time.Second, "how long a phase lasts, in whole seconds")
	flags.IntVar(&o.rounds, "rounds", 2, "how often all phases are measured")
	flags.StringVar(&o.picture, "picture", "", "file for an SVG of how long events took to the topic")
	flags.Usage = func() {
		fmt.Fprintln(out, "Measures orders and product reads at the handler's port against references in the same run.\n"+
			"Run it with `make bench`, or: go run ./infra/local services --durable -- go run ./tests/load [flags]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is not a flag: --help lists them", flags.Arg(0))
	case o.connections < 1 || o.connections > 1000:
		return o, errors.New("--connections must be between 1 and 1000")
	case o.duration < time.Second || o.duration%time.Second != 0:
		return o, errors.New("--duration must be whole seconds, as pgbench knows no others: 10s")
	case o.rounds < 1:
		return o, errors.New("--rounds must be at least 1")
	}
	return o, nil
}

// table prints each phase's median and its median ratio to its reference, round by round.
func table(out io.Writer, phases []phase, results map[string][]result) {
	fmt.Fprintln(out, "\nAt the handler's port, closed loop over keep-alive connections, everything on this machine:")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "phase\tper second\tp50 ms\tp95 ms\tp99 ms\trefused\tratio\t")
	for _, p := range phases {
		var rates, p50, p95, p99, ratios []float64
		refused := 0
		for i, r := range results[p.name] {
			rates, refused = append(rates, r.rate), refused+r.refused
			p50, p95, p99 = append(p50, r.p50), append(p95, r.p95), append(p99, r.p99)
			if p.reference != "" {
				ratios = append(ratios, r.rate/results[p.reference][i].rate)
			}
		}
		ratio := "reference"
		if p.reference != "" {
			ratio = fmt.Sprintf("%.2fx %s", median(ratios), p.reference)
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%.2f\t%.2f\t%d\t%s\t\n", p.name, median(rates), median(p50), median(p95), median(p99), refused, ratio)
	}
	_ = w.Flush() // what cannot be printed cannot be reported either
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	if n == 0 {
		return 0
	}
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}
