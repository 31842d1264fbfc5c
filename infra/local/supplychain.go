package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/company/order-catalog-service/infra/local/stage"
	"github.com/company/order-catalog-service/infra/local/supply"
)

// vulnCommand is `make vuln`.
type vulnCommand struct {
	CI bool `env:"CI" help:"Fail when there is no vulnerability database, or not the Go of releases, instead of saying so."`
}

// Run scans. It never passes in silence over what it could not look at.
func (c *vulnCommand) Run(root checkout) error {
	ctx, stop := untilAskedToStop()
	defer stop()
	source, err := supply.FindSource(ctx)
	if err != nil {
		return c.instead(fmt.Errorf("NOT SCANNED for vulnerabilities: %w", err))
	}
	fmt.Println("database:", source.About)
	if age := time.Since(source.Made); !source.Made.IsZero() && age > 60*24*time.Hour {
		fmt.Printf("WARNING: that copy is %d days old; what was found since is not in it\n", int(age.Hours()/24))
	}
	toolchain, err := releaseGo(ctx, c.CI)
	if err != nil {
		return err
	}
	found, err := supply.Scan(ctx, string(root), source.URL, "GOTOOLCHAIN="+toolchain)
	if err != nil {
		return err
	}
	return supply.Report(os.Stdout, found)
}

// instead is an error in CI and a loud word elsewhere.
func (c *vulnCommand) instead(err error) error {
	if c.CI {
		return err
	}
	fmt.Fprintf(os.Stderr, "\n*** %s ***\n\n", strings.ReplaceAll(err.Error(), "\n", "\n    "))
	return nil
}

// releaseGo is the Go that releases are built with. Where it can't be had, another one does on a laptop, and is said.
func releaseGo(ctx context.Context, ci bool) (string, error) {
	toolchain, err := stage.Toolchain(ctx)
	if err == nil {
		return toolchain, nil
	}
	if ci {
		return "", err
	}
	fmt.Fprintf(os.Stderr, "\n*** releases are built with %s, which can't be had here, so the installed Go is used: %v ***\n\n", stage.Go, err)
	return "local", nil
}

// licencesCommand is `make licences`.
type licencesCommand struct{}

// Run writes docs/licences.md.
func (*licencesCommand) Run(root checkout) error {
	ctx, stop := untilAskedToStop()
	defer stop()
	modules, err := supply.Linked(ctx, string(root))
	if err != nil {
		return err
	}
	page, err := supply.Licences(modules)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(string(root), "docs", "licences.md"), []byte(page), 0o644) //nolint:gosec // a page of the repository
}

// writeSBOM puts the bill of materials of the staged handler beside it.
func writeSBOM(ctx context.Context, root checkout, binary, dist string) error {
	modules, err := supply.Linked(ctx, string(root))
	if err != nil {
		return err
	}
	bill, err := supply.SBOM(binary, modules)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dist, "sbom.cdx.json"), bill, 0o644); err != nil { //nolint:gosec // travels with the package
		return errors.Join(errors.New("the bill of materials could not be written"), err)
	}
	return nil
}
