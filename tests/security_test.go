package tests

import (
	"fmt"
	"go/ast"
	"go/parser"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const securityPage = "docs/security.md"

func TestTheSecurityPageNamesTestsThatExist(t *testing.T) {
	t.Parallel()
	broken, err := claims(os.DirFS(".."))
	require.NoError(t, err)
	assert.Empty(t, broken, "name a test that shows it, or claim less")
}

var named = regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z0-9_]+)(\\.\\.\\.)?`")

// claims holds the security page against the tree: each test that it names must exist, each border and each of the ten risks
// must name one.
func claims(root fs.FS) (broken []string, err error) {
	page, err := fs.ReadFile(root, securityPage)
	if err != nil {
		return nil, err
	}
	tests, err := testNames(root)
	if err != nil {
		return nil, err
	}
	for _, m := range named.FindAllStringSubmatch(string(page), -1) {
		if m[2] == "" && !slices.Contains(tests, m[1]) {
			broken = append(broken, m[1]+" does not exist")
		}
		if m[2] != "" && !slices.ContainsFunc(tests, func(name string) bool { return strings.HasPrefix(name, m[1]) }) {
			broken = append(broken, "no test begins with "+m[1])
		}
	}
	lines := strings.Split(string(page), "\n")
	for _, section := range []string{"## Borders", "## OWASP API Security Top 10 (2023)"} {
		rows := 0
		for _, line := range lines[1+slices.Index(lines, section):] {
			if strings.HasPrefix(line, "## ") {
				break
			}
			if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| risk ") || strings.HasPrefix(line, "| border ") {
				continue
			}
			rows++
			if what, _, _ := strings.Cut(line[2:], " |"); !named.MatchString(line) {
				broken = append(broken, what+" names no test")
			}
		}
		if rows == 0 {
			broken = append(broken, section+" has no rows")
		}
	}
	for n := range 10 {
		if !strings.Contains(string(page), fmt.Sprintf("| API%d ", n+1)) {
			broken = append(broken, fmt.Sprintf("API%d has no row", n+1))
		}
	}
	return broken, nil
}

// testNames are all tests and fuzz targets of the tree.
func testNames(root fs.FS) (names []string, err error) {
	files, err := goFiles(root, parser.SkipObjectResolution)
	for _, f := range files {
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && f.test && fn.Recv == nil && (strings.HasPrefix(fn.Name.Name, "Test") || strings.HasPrefix(fn.Name.Name, "Fuzz")) {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names, err
}

// TestEmptyClaimsAreSeen changes one thing in a good page at a time.
func TestEmptyClaimsAreSeen(t *testing.T) {
	t.Parallel()
	var owasp strings.Builder
	for n := range 10 {
		fmt.Fprintf(&owasp, "| API%d Risk | something | `TestIt...` |\n", n+1)
	}
	good := "# Security\n\n## Borders\n\n| border | shown by |\n|---|---|\n| one | `TestIt` |\n\n## OWASP API Security Top 10 (2023)\n\n| risk | x | y |\n" + owasp.String() + "\n## More\n"
	for says, page := range map[string]string{
		"":                              good,
		"TestThat does not exist":       strings.Replace(good, "`TestIt`", "`TestThat`", 1),
		"no test begins with TestThat":  strings.Replace(good, "`TestIt...`", "`TestThat...`", 1),
		"one names no test":             strings.Replace(good, "`TestIt`", "trust", 1),
		"API10 has no row":              strings.Replace(good, "| API10 ", "| API11 ", 1),
		"API3 Risk names no test":       strings.Replace(good, "| API3 Risk | something | `TestIt...` |", "| API3 Risk | something | later |", 1),
		"## Borders has no rows":        strings.Replace(good, "| one | `TestIt` |", "", 1),
		"TestNoTest does not exist":     strings.Replace(good, "`TestIt`", "`TestNoTest`", 1),
		"TestMethod does not exist":     strings.Replace(good, "`TestIt`", "`TestMethod`", 1),
		"no test begins with FuzzThing": strings.Replace(good, "# Security", "# `FuzzThing...`", 1),
	} {
		broken, err := claims(fstest.MapFS{
			securityPage: {Data: []byte(page)}, "a/a_test.go": {Data: []byte("package a\nfunc TestIt() {}\nfunc (x) TestMethod() {}")},
			"a/a.go": {Data: []byte("package a\nfunc TestNoTest() {}")},
		})
		require.NoError(t, err)
		if says == "" {
			assert.Empty(t, broken)
			continue
		}
		assert.Contains(t, strings.Join(broken, "\n"), says)
	}
}
