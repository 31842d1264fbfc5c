// Command explain says what each of the service's statements costs PostgreSQL and how it is executed, on a database
// as full as a shop's: for who changes a statement or an index, and to see that no hot statement reads a whole table.
//
// It fills a database, runs the handler behind the local host, and drives the use cases through HTTP, webhooks included.
// The first round is counted by pg_stat_statements, the second explained by auto_explain: so the plans are those that the
// handler's prepared statements got, with their real arguments, and no statement is copied here. It ends with an error
// when a statement reads all of a table that grows, or when one of the hot path was not seen.
//
// Read main.go, then data.go (what is in the database), stack.go (what runs), drive.go (who buys), plans.go (how a plan
// is read) and report.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// options are the command line.
type options struct {
	products, orders int
	clients, rounds  int
	mode             string
	plans            string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "explain:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	s, err := start(ctx, o, out)
	if err != nil {
		return err
	}
	defer s.stop()
	return s.report(ctx, out)
}

func parse(args []string, out io.Writer) (options, error) {
	var o options
	flags := flag.NewFlagSet("explain", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.IntVar(&o.products, "products", 10_000, "products in the catalog")
	flags.IntVar(&o.orders, "orders", 100_000, "orders of the last two months, with their lines, keys and events")
	flags.IntVar(&o.clients, "clients", 8, "customers who buy at the same time")
	flags.IntVar(&o.rounds, "rounds", 60, "visits of each customer while statements are counted")
	flags.StringVar(&o.mode, "mode", "cache_statement", "default_query_exec_mode of DATABASE_URL; cache_describe is for a pooler")
	flags.StringVar(&o.plans, "plans", "", "file for the whole plans, as JSON by statement")
	flags.Usage = func() {
		fmt.Fprintln(out, "Says what each statement costs and how it is executed. Run it with a server that counts:\n"+
			"go run ./infra/local services --durable --observe -- go run ./tests/explain [flags]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("%q is not a flag: --help lists them", flags.Arg(0))
	case o.products < 100 || o.orders < 100:
		return o, errors.New("--products and --orders must be at least 100")
	case o.clients < 1 || o.rounds < 1:
		return o, errors.New("--clients and --rounds must be at least 1")
	}
	return o, nil
}
