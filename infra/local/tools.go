package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/company/order-catalog-service/functions/catalog"
	"github.com/company/order-catalog-service/infra/local/pgserver"
	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/shared/postgres"
)

// tokenCommand is `make token`.
type tokenCommand struct {
	ports
	Sub   string `default:"customer-1" help:"Who the token is for."`
	Scope string `default:"catalog:read order:read order:write order:cancel" help:"Its scopes."`
	Roles string `help:"App roles, as in admin."`
}

// Run prints the token and nothing else.
func (c *tokenCommand) Run() error {
	form := url.Values{"grant_type": {"client_credentials"}, "sub": {c.Sub}, "scope": {c.Scope}}
	if c.Roles != "" {
		form.Set("roles", c.Roles)
	}
	client := http.Client{Timeout: 5 * time.Second}
	res, err := client.PostForm(fmt.Sprintf("http://127.0.0.1:%d/token", c.IssuerPort), form) //nolint:noctx // bounded by its timeout
	if err != nil {
		return fmt.Errorf("no token issuer on port %d: is the stack running (make run)? %w", c.IssuerPort, err)
	}
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("reading the issuer's answer: %w", err)
	}
	var body struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.Unmarshal(raw, &body); err != nil || body.AccessToken == "" {
		return fmt.Errorf("the issuer answered %s: %s", res.Status, raw)
	}
	fmt.Println(body.AccessToken)
	return nil
}

// seedCommand is `make seed FILE=...`.
type seedCommand struct {
	ports
	File string `arg:"" type:"existingfile" help:"CSV (sku,name,description,category,price,currency,stock) or JSON (an array of the same members)."`
}

// Run imports the file, all of it or nothing.
func (c *seedCommand) Run() error {
	file, err := os.Open(c.File)
	if err != nil {
		return fmt.Errorf("opening the catalog: %w", err)
	}
	defer func() { _ = file.Close() }()
	rows, err := catalog.Read(c.File, file)
	if err != nil {
		return fmt.Errorf("%s: %w", c.File, err)
	}
	address := os.Getenv("DATABASE_URL")
	if address == "" {
		address = fmt.Sprintf("postgres://%s@127.0.0.1:%d/%s?sslmode=disable", pgserver.App, c.PGPort, pgserver.Database)
	}
	ctx := context.Background()
	pools, err := postgres.Open(ctx, address, postgres.Budget{Orders: 1, Reads: 1, Background: 1, Acquire: 5 * time.Second})
	if err != nil {
		return err
	}
	defer pools.Close()
	if err := catalog.Import(ctx, pools.Orders, rows, progressBar); err != nil {
		return fmt.Errorf("%w (is the stack running: make run?)", err)
	}
	fmt.Printf("\n%d products imported\n", len(rows))
	return nil
}

func progressBar(done, total int) {
	const width = 40
	full := width * done / max(total, 1)
	fmt.Printf("\r[%s%s] %d/%d", strings.Repeat("#", full), strings.Repeat(".", width-full), done, total)
}

// resetCommand is `make reset`.
type resetCommand struct{}

// Run deletes what `make run` keeps. It refuses while a stack runs.
func (*resetCommand) Run(root checkout) (err error) {
	lock, err := root.lock()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.release()) }()
	inUse, err := root.sweep()
	if err != nil {
		return err
	}
	if len(inUse) > 0 {
		return fmt.Errorf("tests or benchmarks of this checkout are running (in %s): wait for their end", strings.Join(inUse, ", "))
	}
	if err := pgserver.Wipe(root.local("postgres")); err != nil {
		return err
	}
	entries, err := os.ReadDir(root.local())
	if err != nil {
		return fmt.Errorf("reading %s: %w", root.local(), err)
	}
	for _, entry := range entries {
		if entry.Name() == lockFile {
			continue // we hold it
		}
		if err := os.RemoveAll(root.local(entry.Name())); err != nil {
			return fmt.Errorf("deleting the stack's data: %w", err)
		}
	}
	fmt.Println("Deleted the stack's data in", root.local())
	return nil
}

// packageCommand is `make package`.
type packageCommand struct {
	Version string `default:"dev" help:"What the handler calls itself."`
}

// Run builds for where Azure runs it, stages, and prints what came out.
func (c *packageCommand) Run(root checkout) error { return stageDist(root, c.Version, false) }

func stageDist(root checkout, version string, settings bool) error {
	binary := root.local("bin", "handler-linux-amd64")
	err := stage.Build(context.Background(), string(root), binary, stage.BuildOptions{GOOS: "linux", GOARCH: "amd64", Version: version})
	if err != nil {
		return err
	}
	dist, err := stage.Stage(stage.Options{Repo: string(root), Binary: binary, Out: filepath.Join(string(root), "dist"), LocalSettings: settings})
	if err != nil {
		return err
	}
	return filepath.WalkDir(dist, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return fmt.Errorf("reading %s: %w", path, err)
		}
		name, err := filepath.Rel(dist, path)
		fmt.Printf("%10d  dist/%s\n", info.Size(), name)
		return err
	})
}

// startCommand is `make start`.
type startCommand struct{}

// Run stages dist/ with the local settings and gives it to the real host. PostgreSQL, Redis and the issuer are those of
// a running stack (on another HOST_PORT), or of docker compose.
func (*startCommand) Run(root checkout) error {
	tools, err := exec.LookPath("func")
	if err != nil {
		return errors.New("Azure Functions Core Tools (func) are not on PATH: see https://learn.microsoft.com/azure/azure-functions/functions-run-local, or use make run, which needs nothing") //nolint:staticcheck // a product's name
	}
	if err := stageDist(root, "dev", true); err != nil {
		return err
	}
	cmd := exec.Command(tools, "start", "--script-root", "dist") //nolint:gosec,noctx // found on PATH; runs until Ctrl-C
	cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr = string(root), os.Stdin, os.Stdout, os.Stderr
	return cmd.Run()
}
