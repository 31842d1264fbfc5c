package tests

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	module   = "github.com/company/order-catalog-service/"
	maxLines = 600
)

// rule looks at the tree and says what breaks it, one sentence each; mend says what to do then.
type rule struct {
	name, mend string
	check      func(fs.FS) ([]string, error)
}

var rules = []rule{
	{"imports", "move what two slices need to shared/, or wire it in handler/", importRules},
	{"package comments", "say in the first paragraph what the package is for, then the reading order", packageComments},
	{"file length", "split the file by what its parts do", fileLengths},
	{"package names", "name the package after what it does", packageNames},
	{"top level", "put it in the folder of the part it belongs to; section 2 of the design lists the folders", topLevel},
	{"goroutines", "start it with shared/background, whose goroutines can't take the process down", goroutines},
	{"triggers", "mend function.json", triggerRules},
	{"route overlap", "the host takes the first match by function name: give each route a prefix of its own", routeOverlap},
	{"routes on one page", "keep handler/routes.go and the function.json files the same", routesMatch},
}

func TestLayout(t *testing.T) {
	t.Parallel()
	root := os.DirFS("..")
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			broken, err := r.check(root)
			require.NoError(t, err)
			assert.Empty(t, broken, r.mend)
		})
	}
}

// goFile is one Go file, parsed.
type goFile struct {
	path, dir string
	test      bool
	*ast.File
}

// goFiles parses all Go files of the repository. Hidden folders, test data and build output are no part of it.
func goFiles(root fs.FS, mode parser.Mode) ([]goFile, error) {
	var out []goFile
	err := fs.WalkDir(root, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if p != "." && (strings.HasPrefix(d.Name(), ".") || slices.Contains([]string{"testdata", "dist", "bin", "node_modules"}, d.Name())) {
				return fs.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(p, ".go") {
			return nil
		}
		src, err := fs.ReadFile(root, p)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, src, mode)
		if err != nil {
			return err
		}
		out = append(out, goFile{p, path.Dir(p), strings.HasSuffix(p, "_test.go"), f})
		return nil
	})
	if err == nil && len(out) == 0 {
		err = fmt.Errorf("no Go file found: is the root right?")
	}
	return out, err
}

// importRules: slices import shared and themselves (graphql: other slices too), shared only shared, handler no
// infra. Tests are free, since they need the kit.
func importRules(root fs.FS) (broken []string, err error) {
	files, err := goFiles(root, parser.ImportsOnly)
	for _, f := range files {
		if f.test {
			continue
		}
		for _, spec := range f.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return nil, err
			}
			target, ours := strings.CutPrefix(imported, module)
			if ours && !mayImport(f.dir, target) {
				broken = append(broken, f.path+" imports "+target)
			}
		}
	}
	return broken, err
}

func mayImport(from, target string) bool {
	a, b := strings.Split(from, "/"), strings.Split(target, "/")
	switch a[0] {
	case "shared":
		return b[0] == "shared"
	case "functions":
		return b[0] == "shared" || b[0] == "functions" && len(a) > 1 && len(b) > 1 && (a[1] == b[1] || a[1] == "graphql")
	case "handler":
		return b[0] != "infra" && b[0] != "tests"
	default:
		return true
	}
}

func packageComments(root fs.FS) (broken []string, err error) {
	files, err := goFiles(root, parser.PackageClauseOnly|parser.ParseComments)
	documented := map[string]bool{}
	for _, f := range files {
		if !f.test {
			documented[f.dir] = documented[f.dir] || f.Doc != nil
		}
	}
	for dir, ok := range documented {
		if !ok {
			broken = append(broken, dir+" has no package comment")
		}
	}
	slices.Sort(broken)
	return broken, err
}

func fileLengths(root fs.FS) (broken []string, err error) {
	files, err := goFiles(root, parser.PackageClauseOnly)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		src, err := root.Open(f.path)
		if err != nil {
			return nil, err
		}
		lines := 0
		scan := bufio.NewScanner(src)
		for scan.Scan() {
			lines++
		}
		_ = src.Close() // it was only read
		if err := scan.Err(); err != nil {
			return nil, err
		}
		if lines > maxLines {
			broken = append(broken, fmt.Sprintf("%s has %d lines, more than %d", f.path, lines, maxLines))
		}
	}
	return broken, nil
}

func packageNames(root fs.FS) (broken []string, err error) {
	files, err := goFiles(root, parser.PackageClauseOnly)
	for _, f := range files {
		switch strings.TrimSuffix(f.Name.Name, "_test") {
		case "util", "utils", "common", "models", "types", "helpers", "misc", "shared", "base":
			broken = append(broken, f.path+" is in a package named "+f.Name.Name)
		}
	}
	return broken, err
}

// rootEntries is what the top level may hold; the last line is git's and what .gitignore names.
var rootEntries = strings.Fields(`
	host.json local.settings.json go.mod go.sum Makefile README.md .ci .golangci.yml bicepconfig.json
	functions handler shared infra bicep tests
	docs .github docker-compose.yml Dockerfile LICENSE CONTRIBUTING.md SECURITY.md .gitignore .gitattributes .dockerignore .funcignore .editorconfig
	.git .local dist bin`)

func topLevel(root fs.FS) (broken []string, err error) {
	entries, err := fs.ReadDir(root, ".")
	for _, e := range entries {
		if !slices.Contains(rootEntries, e.Name()) {
			broken = append(broken, e.Name()+" is not listed")
		}
	}
	return broken, err
}
