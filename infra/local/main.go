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
	"strings"

	"github.com/alecthomas/kong"
)

type commands struct {
	Run      runCommand      `cmd:"" help:"Run the whole stack until Ctrl-C: PostgreSQL, Redis, token issuer, host and handler."`
	Token    tokenCommand    `cmd:"" help:"Print an access token of the running stack."`
	Rotate   rotateCommand   `cmd:"" help:"Have the running stack's token issuer sign with its next key."`
	Seed     seedCommand     `cmd:"" help:"Import a CSV or JSON catalog into the running stack's database."`
	Reset    resetCommand    `cmd:"" help:"Delete the stack's data."`
	Package  packageCommand  `cmd:"" help:"Build dist/, the script root that Azure runs (linux/amd64), and the zip that is deployed."`
	Start    startCommand    `cmd:"" help:"Run the stack with dist/ under Azure Functions Core Tools."`
	Vuln     vulnCommand     `cmd:"" help:"Look for known vulnerabilities in the code and what it is built from."`
	Licences licencesCommand `cmd:"" help:"Write docs/licences.md from what is linked into the handler."`
	Services servicesCommand `cmd:"" help:"Run a command with a throw-away PostgreSQL and Redis."`
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		var code exitCode
		if errors.As(err, &code) {
			os.Exit(int(code))
		}
		fmt.Fprintln(os.Stderr, "error:", strings.ReplaceAll(err.Error(), "\n", "\n       "))
		os.Exit(1)
	}
}

func run(args []string) error {
	root, err := findCheckout()
	if err != nil {
		return err
	}
	var c commands
	parser, err := kong.New(&c, kong.Name("local"), kong.Bind(root),
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
