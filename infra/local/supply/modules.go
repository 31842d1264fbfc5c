// Package supply knows what the handler is made of that others wrote: which modules are in it (modules.go), under which
// licences (licences.go), as a bill of materials (sbom.go), and what is known to be wrong with them (vulns.go).
package supply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// Module is one module that is compiled into the handler.
type Module struct {
	Path, Version string
	Dir           string // where its source is
}

// Linked lists the modules of the handler, in order. It asks the build, not go.mod: most of what go.mod names is there for
// tests, and is nobody's business who runs the service.
func Linked(ctx context.Context, repo string) ([]Module, error) {
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-json=Module", "./handler")
	list.Dir = repo
	// For where it runs: what is linked differs between systems.
	list.Env = append(list.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	var said bytes.Buffer
	list.Stderr = &said
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("listing the handler's modules: %w\n%s", err, said.Bytes())
	}
	seen := map[string]Module{}
	dec := json.NewDecoder(bytes.NewReader(out))
	for {
		var pkg struct {
			Module *struct {
				Path, Version, Dir string
				Main               bool
				Replace            *Module
			}
		}
		if err := dec.Decode(&pkg); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("listing the handler's modules: %w", err)
		}
		m := pkg.Module
		if m == nil || m.Main {
			continue // the standard library, or ours
		}
		one := Module{Path: m.Path, Version: m.Version, Dir: m.Dir}
		if m.Replace != nil {
			one.Version, one.Dir = m.Replace.Version, m.Replace.Dir
		}
		seen[m.Path] = one
	}
	modules := make([]Module, 0, len(seen))
	for _, m := range seen {
		modules = append(modules, m)
	}
	slices.SortFunc(modules, func(a, b Module) int { return strings.Compare(a.Path, b.Path) })
	return modules, nil
}
