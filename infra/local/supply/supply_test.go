package supply

import (
	"bytes"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"testing"
	"time"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const repo = "../../.."

// The page is what the build says now, and each licence on it one that may be linked.
func TestThePageOfLicencesIsCurrent(t *testing.T) {
	t.Parallel()
	modules, err := Linked(t.Context(), repo)
	require.NoError(t, err)
	require.Greater(t, len(modules), 20)
	page, err := Licences(modules)
	require.NoError(t, err)
	kept, err := os.ReadFile(repo + "/docs/licences.md")
	require.NoError(t, err)
	assert.Equal(t, page, string(kept), "run `make licences`")
	for _, m := range modules {
		assert.NotContains(t, m.Path, "testify", "what tests need is not linked")
	}
}

func TestWhatIsBundledIsOnThePage(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(repo + "/functions/docs/assets/README.md")
	require.NoError(t, err)
	for _, f := range bundled {
		assert.Contains(t, string(readme), "`"+f.Name+"` "+f.Version, "the page names the version that is bundled")
	}
}

func TestLicencesAreToldApart(t *testing.T) {
	t.Parallel()
	const bsd2 = "Redistributions of source code must retain the above.\n2. Redistributions in binary form must reproduce it."
	for text, want := range map[string]string{
		"Permission is hereby granted, free of charge, to any person obtaining a copy\n of it. The above copyright notice and this\npermission notice shall be included in all": "MIT",
		"   Apache License\n  Version 2.0, January 2004": "Apache-2.0",
		bsd2: "BSD-2-Clause",
		bsd2 + " Neither the name may be used to endorse or promote products derived from it": "BSD-3-Clause",
		"Mozilla Public License Version 2.0":                                                  "MPL-2.0",
		"GNU GENERAL PUBLIC LICENSE\n TERMS AND CONDITIONS":                                   "GPL",
		"GNU AFFERO GENERAL PUBLIC LICENSE\n TERMS AND CONDITIONS":                            "AGPL-3.0",
		"All rights reserved.":                                                                "",
	} {
		assert.Equal(t, want, classify(text), text)
	}
	dir := t.TempDir()
	m := Module{Path: "example.com/m", Dir: dir}
	_, err := m.Licence()
	require.ErrorContains(t, err, "no licence file")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "LICENSE"), []byte("All rights reserved."), 0o600))
	_, err = m.Licence()
	require.ErrorContains(t, err, "no licence file that is known")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "LICENSE"), []byte("GNU General Public License. Terms and conditions"), 0o600))
	_, err = m.Licence()
	require.ErrorContains(t, err, "may not be linked")
	_, err = Licences([]Module{m})
	require.Error(t, err)
}

func built() (*debug.BuildInfo, map[string]string) {
	sum := "h1:" + base64.StdEncoding.EncodeToString(make([]byte, sha256.Size))
	return &debug.BuildInfo{
		GoVersion: "go1.26.10", Main: debug.Module{Path: "example.com/service"},
		Deps: []*debug.Module{
			{Path: "example.com/b", Version: "v1.0.0", Sum: sum},
			{Path: "example.com/a", Version: "v2.0.0", Sum: sum, Replace: &debug.Module{Path: "example.com/fork", Version: "v3.0.0", Sum: sum}},
		},
		Settings: []debug.BuildSetting{{Key: "GOOS", Value: "linux"}, {Key: "vcs.time", Value: "2026-11-27"}},
	}, map[string]string{"example.com/b": "MIT", "example.com/fork": "Apache-2.0"}
}

// The bill says what is in the binary, and the same binary gives the same bytes.
func TestTheBillOfMaterials(t *testing.T) {
	t.Parallel()
	info, licences := built()
	first, err := bill(info, [32]byte{1}, licences)
	require.NoError(t, err)
	again, err := bill(info, [32]byte{1}, licences)
	require.NoError(t, err)
	assert.Equal(t, string(first), string(again))
	other, err := bill(info, [32]byte{2}, licences)
	require.NoError(t, err)
	assert.NotEqual(t, string(first), string(other), "another binary has another bill")
	assert.NotContains(t, string(first), "2026", "no time of the build")

	var doc cyclonedx.BOM
	require.NoError(t, cyclonedx.NewBOMDecoder(bytes.NewReader(first), cyclonedx.BOMFileFormatJSON).Decode(&doc))
	assert.Regexp(t, "^urn:uuid:[0-9a-f-]{36}$", doc.SerialNumber)
	assert.Equal(t, "01"+strings.Repeat("0", 62), (*doc.Metadata.Component.Hashes)[0].Value)
	got := map[string]string{}
	for _, c := range *doc.Components {
		got[c.PackageURL] = (*c.Licenses)[0].License.ID
	}
	assert.Equal(t, map[string]string{
		"pkg:golang/std@1.26.10": "BSD-3-Clause", "pkg:golang/example.com/b@v1.0.0": "MIT", "pkg:golang/example.com/fork@v3.0.0": "Apache-2.0",
		"pkg:npm/swagger-ui-dist@5.35.0": "Apache-2.0",
	}, got)
	assert.Len(t, *(*doc.Dependencies)[0].Dependencies, len(got))

	delete(licences, "example.com/b")
	_, err = bill(info, [32]byte{1}, licences)
	require.ErrorContains(t, err, "example.com/b is in the binary and not in the list")
}

// The bill of a real binary: every module in it, and each with go.sum's digest.
func TestTheBillOfARealBinary(t *testing.T) {
	t.Parallel()
	self := filepath.Join(t.TempDir(), "handler") // a test's own binary has no modules in it
	said, err := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", self, repo+"/handler").CombinedOutput()
	require.NoError(t, err, "%s", said)
	info, err := buildinfo.ReadFile(self)
	require.NoError(t, err)
	licences := map[string]string{}
	for _, dep := range info.Deps {
		licences[dep.Path] = "MIT"
	}
	require.NotEmpty(t, info.Deps)
	raw, err := os.ReadFile(self)
	require.NoError(t, err)
	out, err := bill(info, sha256.Sum256(raw), licences)
	require.NoError(t, err)
	for path := range licences {
		assert.Contains(t, string(out), "pkg:golang/"+path+"@")
	}
	_, err = SBOM(self, nil)
	require.ErrorContains(t, err, "not in the list of its modules")
	_, err = SBOM("supply_test.go", nil)
	require.ErrorContains(t, err, "reading what")
}

const scanned = `{"config":{"scanner_name":"govulncheck"}}
{"osv":{"id":"GO-1","summary":"called"}}
{"osv":{"id":"GO-2","summary":"not called"}}
{"finding":{"osv":"GO-1","fixed_version":"v1.1.0","trace":[{"module":"example.com/a","version":"v1.0.0"}]}}
{"finding":{"osv":"GO-1","fixed_version":"v1.1.0","trace":[{"module":"example.com/a","version":"v1.0.0","package":"example.com/a","function":"F"},{"module":"us","package":"us/handler","function":"main"}]}}
{"finding":{"osv":"GO-2","trace":[{"module":"example.com/b","version":"v1.0.0","package":"example.com/b"}]}}
`

// What is called is a failure, what is not is told of, and silence is no clean bill.
func TestFindings(t *testing.T) {
	t.Parallel()
	list, err := read(strings.NewReader(scanned))
	require.NoError(t, err)
	require.Equal(t, []Vulnerability{
		{ID: "GO-1", Summary: "called", Module: "example.com/a", Version: "v1.0.0", Fixed: "v1.1.0", Called: "us/handler.main"},
		{ID: "GO-2", Summary: "not called", Module: "example.com/b", Version: "v1.0.0"},
	}, list)
	var out bytes.Buffer
	require.EqualError(t, Report(&out, list), "1 known vulnerabilities are called: update what has them")
	assert.Contains(t, out.String(), "GO-1 called\n  example.com/a v1.0.0 is called from us/handler.main; fixed in v1.1.0")
	out.Reset()
	require.NoError(t, Report(&out, list[1:]))
	assert.Contains(t, out.String(), "no version without it yet")
	for _, broken := range []string{"", "{}", "not JSON", scanned[:len(scanned)-20]} {
		_, err := read(strings.NewReader(broken))
		require.Error(t, err, "%q", broken)
	}
}

// The database itself when it is in reach, else the newest copy, else the pinned one, else an error: never nothing.
func TestTheDatabaseOrACopyOfIt(t *testing.T) {
	t.Parallel()
	there := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { assert.Equal(t, "/index/db.json", r.URL.Path) }))
	defer there.Close()
	away := httptest.NewServer(http.NotFoundHandler())
	defer away.Close()
	var asked []string
	copies := func(known ...string) func(string) (string, string, error) {
		asked = nil
		return func(version string) (string, string, error) {
			asked = append(asked, version)
			if len(asked) > len(known) || known[len(asked)-1] == "" {
				return "", "", errors.New("not to be had")
			}
			return "/mod", known[len(asked)-1], nil
		}
	}
	ctx := context.Background()
	got, err := findSource(ctx, there.URL, copies())
	require.NoError(t, err)
	assert.Equal(t, there.URL, got.URL)
	assert.Empty(t, asked)

	got, err = findSource(ctx, away.URL, copies("v0.0.0-20261105234957-e22db6528018"))
	require.NoError(t, err)
	assert.Equal(t, "file:///mod/data/osv", got.URL)
	assert.Equal(t, time.Date(2026, 11, 5, 23, 49, 57, 0, time.UTC), got.Made)
	assert.Contains(t, got.About, "2026-11-05")
	assert.Contains(t, got.About, "404")

	got, err = findSource(ctx, away.URL, copies("", pinned))
	require.NoError(t, err)
	assert.Equal(t, []string{"latest", pinned}, asked)
	assert.NotZero(t, got.Made)

	_, err = findSource(ctx, away.URL, copies())
	require.ErrorContains(t, err, "no vulnerability database")
	require.ErrorContains(t, err, "not to be had")
}
