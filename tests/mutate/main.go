// Command mutate breaks the code that carries the promises, one small change at a time, and says which changes no test
// notices. Each of those is either harmless, and docs/mutation.md says why, or a test that is missing.
//
// No file of the tree is touched: a mutant is compiled from a copy (go test -overlay), and its tests meet the PostgreSQL and
// Redis that `local services` started around the whole run. Tests stop at the first failure. What the package's quick tests let
// pass goes to its slow ones before it counts as survived.
//
// Why no other tool: gremlins and go-mutesting change Go alone, and know neither the SQL and Lua in which half of the promises
// are kept nor tests that need a server; go-mutesting also writes into the tree.
//
// Read source.go for how Go is changed, sql.go for SQL and Lua, run.go for how a mutant is tried.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path"
	"regexp"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
)

// promises are the files that carry them, by package.
var promises = []string{
	"functions/orders/lane.go", "functions/orders/batch.go", "functions/orders/plan.go", "functions/orders/placement.go",
	"functions/orders/cancel.go", "functions/orders/decide.go", "functions/orders/store.go", "functions/orders/books.go",
	"shared/idempotency/store.go", "shared/idempotency/claims.go", "shared/idempotency/flights.go",
	"shared/outbox/pass.go", "shared/outbox/lane.go", "shared/outbox/drain.go", "shared/outbox/park.go", "shared/outbox/feed.go",
	"functions/webhooks/lease.go", "functions/webhooks/verdict.go", "functions/webhooks/fanout.go", "functions/webhooks/sweep.go",
	"functions/webhooks/deliver.go",
	"shared/ratelimit/script.go", "shared/ratelimit/window.go", "shared/ratelimit/lease.go",
}

// witnesses are packages whose tests are asked too, after the package's own: what they do with it is where its promise is kept.
var witnesses = map[string][]string{
	"shared/idempotency": {"functions/orders"},
	"shared/ratelimit":   {"shared/idempotency"},
}

// options are the command line.
type options struct {
	Files []string       `arg:"" optional:"" help:"Go files to break, from the root of the repository. Default: those that carry the promises."`
	Most  int            `default:"40" help:"Mutants to try of each package, spread evenly over its functions and statements; 0: all."`
	Seed  uint64         `default:"1" help:"Which of them: the same seed gives the same ones."`
	Match *regexp.Regexp `help:"Only mutants whose line of --list this expression matches." placeholder:"REGEXP"`
	Run   string         `help:"Only ask these tests, as in go test -run." placeholder:"REGEXP"`
	Slow  time.Duration  `default:"3s" help:"Tests that took longer than this are asked only about what the others let pass."`
	List  bool           `help:"Print the mutants and try none."`
}

// Validate is kong's hook.
func (o *options) Validate() error {
	if o.Most < 0 || o.Slow <= 0 {
		return errors.New("--most must not be negative, and --slow must be longer than nothing")
	}
	return nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	var o options
	parser, err := kong.New(&o, kong.Name("mutate"), kong.Writers(out, progress),
		kong.Description("Break the code that carries the promises, one small change at a time, and list the changes that no test of the package notices. Progress goes to stderr, a table and the survivors as Markdown to stdout. Run it inside of `go run ./infra/local services -- ...`."))
	if err != nil {
		return fmt.Errorf("reading the options: %w", err)
	}
	if _, err = parser.Parse(args); err != nil {
		return err
	}
	if len(o.Files) == 0 {
		o.Files = promises
	}
	packages, err := o.choose()
	if err != nil {
		return err
	}
	if o.List {
		for _, p := range packages {
			for _, m := range p.chosen {
				fmt.Fprintln(out, m)
			}
		}
		return nil
	}
	if os.Getenv("TEST_DATABASE_URL") == "" {
		return errors.New("TEST_DATABASE_URL is not set: run `make mutate`, or `go run ./infra/local services -- go run ./tests/mutate`")
	}
	scratch, err := os.MkdirTemp("", "mutate-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(scratch) }() // in the system's own folder for what may stay
	b := &bench{scratch: scratch, run: o.Run, slow: o.Slow, say: progress, suites: map[string]*suite{}}
	for _, p := range packages {
		if err := b.try(ctx, p); err != nil {
			return err
		}
	}
	report(out, packages)
	return nil
}

// pkg is a package with its mutants.
type pkg struct {
	dir     string
	all     []mutant
	chosen  []mutant
	results []result // of the chosen ones, in their order
}

// choose finds the mutants of the files and picks those to try.
func (o *options) choose() ([]*pkg, error) {
	var packages []*pkg
	byDir := map[string]*pkg{}
	for _, file := range o.Files {
		text, err := os.ReadFile(file) //nolint:gosec // a source file that the caller named
		if err != nil {
			return nil, fmt.Errorf("%w: name files from the root of the repository, and start there", err)
		}
		found, err := mutants(file, text)
		if err != nil {
			return nil, err
		}
		dir := path.Dir(file)
		p := byDir[dir]
		if p == nil {
			p = &pkg{dir: dir}
			byDir[dir], packages = p, append(packages, p)
		}
		for _, m := range found {
			if o.Match == nil || o.Match.MatchString(m.String()) {
				p.all = append(p.all, m)
			}
		}
	}
	for _, p := range packages {
		p.chosen = spread(p.all, o.Most, o.Seed)
	}
	return packages, nil
}

// spread picks up to most mutants, one of each function or statement in turn, so that a long one has no more than a short.
func spread(all []mutant, most int, seed uint64) []mutant {
	if most == 0 || len(all) <= most {
		return all
	}
	var places []string
	of := map[string][]int{}
	for i, m := range all {
		place := m.file + " " + m.in
		if of[place] == nil {
			places = append(places, place)
		}
		of[place] = append(of[place], i)
	}
	random := rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a sample is no secret
	for _, place := range places {
		random.Shuffle(len(of[place]), func(i, j int) { of[place][i], of[place][j] = of[place][j], of[place][i] })
	}
	random.Shuffle(len(places), func(i, j int) { places[i], places[j] = places[j], places[i] })
	picked := make([]bool, len(all))
	for n := 0; n < most; {
		for _, place := range places {
			if left := of[place]; len(left) > 0 && n < most {
				picked[left[0]], of[place] = true, left[1:]
				n++
			}
		}
	}
	chosen := make([]mutant, 0, most)
	for i, m := range all {
		if picked[i] {
			chosen = append(chosen, m)
		}
	}
	return chosen
}
