// Command cover runs all tests, counts which statements of our own code they execute, and fails when that are too few.
//
// The end-to-end, chaos and Lambda tests run the handler in processes of their own, and kill most of them. So what tests
// build is instrumented too, by the go command's own GOFLAGS, and writes down twice a second what it has executed:
// testdata/flush.go, which the compiler gets as an overlay and no other build has. What all processes wrote is merged, and
// shown as a page. Not counted is what a test's own program executes when a test starts it again and kills it.
//
// Read main.go, then run.go (how the tests are run), profile.go (what counts) and page.go.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// options are the command line.
type options struct {
	repo, out string
	least     float64
	packages  []string
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := cover(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "cover:", err)
		os.Exit(1)
	}
}

// cover is the command: tests, then numbers and the page, whether or not the tests passed.
func cover(ctx context.Context, args []string, out io.Writer) error {
	o, err := parse(args, out)
	if err != nil {
		return err
	}
	r, err := newRun(ctx, o)
	if err != nil {
		return err
	}
	failed := r.test(ctx, out)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p, err := r.merged(ctx)
	if err != nil {
		return errors.Join(failed, err)
	}
	t := p.totals()
	t.print(out)
	page, err := r.page(ctx, p, t)
	if err != nil {
		return errors.Join(failed, err)
	}
	fmt.Fprintln(out, "\nThe page:", page)
	if got := t.Percent(); got < o.least {
		return errors.Join(failed, fmt.Errorf("%.1f %% of the statements were executed, %.1f %% are asked for", got, o.least))
	}
	return failed
}

func parse(args []string, out io.Writer) (options, error) {
	o := options{packages: []string{"./..."}}
	flags := flag.NewFlagSet("cover", flag.ContinueOnError)
	flags.SetOutput(out)
	flags.StringVar(&o.repo, "repo", ".", "the repository's root")
	flags.StringVar(&o.out, "out", ".local/cover", "the folder for the page, below the repository")
	flags.Float64Var(&o.least, "least", 80, "percentage of the statements that must be executed")
	flags.Usage = func() {
		fmt.Fprintln(out, "Runs the tests and says what they execute. They need a PostgreSQL and a Redis:\n"+
			"go run ./infra/local services -- go run ./tests/cover [flags] [packages whose tests are run]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		o.packages = flags.Args()
	}
	if o.least < 0 || o.least > 100 {
		return o, fmt.Errorf("--least is a percentage, 0 to 100, not %v", o.least)
	}
	var err error
	if o.repo, err = filepath.Abs(o.repo); err != nil {
		return o, err
	}
	if !filepath.IsAbs(o.out) {
		o.out = filepath.Join(o.repo, o.out)
	}
	return o, nil
}
