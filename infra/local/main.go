// Command local is the service's surroundings on one machine: PostgreSQL, Redis, a token issuer and a stand-in
// for the Azure Functions host, with no Docker and no Azure account.
//
// `local run` is what `make run` calls; `local --help` lists the rest. Read run.go for what a stack consists of,
// then the packages below this folder, one for each part.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kong"
)

type commands struct {
	Services servicesCommand `cmd:"" help:"Run a command with a throw-away PostgreSQL and Redis."`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		var code exitCode
		if errors.As(err, &code) {
			os.Exit(int(code))
		}
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	root, err := findCheckout()
	if err != nil {
		return err
	}
	var c commands
	parser, err := kong.New(&c, kong.Name("local"), kong.UsageOnError(), kong.Bind(root),
		kong.Description("The Order & Catalog service's local stack: PostgreSQL, Redis, token issuer and Functions host on this machine."))
	if err != nil {
		return fmt.Errorf("reading the commands: %w", err)
	}
	ctx, err := parser.Parse(args)
	if err != nil {
		return err
	}
	return ctx.Run()
}

// checkout is the repository's root.
type checkout string

// findCheckout looks upwards for the module, so that the command works from any folder of it.
func findCheckout() (checkout, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the checkout: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "host.json")); err == nil {
			return checkout(dir), nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no host.json here or above: run this inside the checkout")
		}
	}
}

// local is where the stack keeps its data; `make reset` wipes it.
func (c checkout) local() string { return filepath.Join(string(c), ".local") }
