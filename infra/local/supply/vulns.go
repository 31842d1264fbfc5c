package supply

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	scanner  = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"
	database = "https://vuln.go.dev"
	// mirror is the module in which the Go team keeps the database's entries: with the module proxy in reach it can be had
	// where the database can't. pinned is what is taken when nothing newer is to be had either.
	mirror = "golang.org/x/vulndb"
	pinned = "v0.0.0-20261105234957-e22db6528018"
)

// Source is a vulnerability database that can be asked.
type Source struct {
	URL   string
	About string    // which one it is, for people
	Made  time.Time // when the copy was; zero for the database itself
}

// FindSource is the database, or the newest copy of it that can be had. The error says that there is none: nothing can be
// said about vulnerabilities then.
func FindSource(ctx context.Context) (Source, error) {
	return findSource(ctx, database, func(version string) (string, string, error) { return download(ctx, mirror+"@"+version) })
}

func findSource(ctx context.Context, url string, copyOf func(version string) (dir, got string, err error)) (Source, error) {
	away := reach(ctx, url)
	if away == nil {
		return Source{URL: url, About: url}, nil
	}
	errs := []error{away}
	for _, version := range []string{"latest", pinned} {
		dir, got, err := copyOf(version)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		made, err := madeAt(got)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		return Source{
			URL: "file://" + filepath.ToSlash(filepath.Join(dir, "data", "osv")), Made: made,
			About: fmt.Sprintf("its copy of %s in module %s, as %s can't be reached (%v)", made.Format(time.DateOnly), mirror, url, away),
		}, nil
	}
	return Source{}, fmt.Errorf("no vulnerability database: %w", errors.Join(errs...))
}

// reach asks the database for its index.
func reach(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/index/db.json", nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", res.Status)
	}
	return nil
}

// download gets a module as any other, checked against the checksum database.
func download(ctx context.Context, module string) (dir, version string, err error) {
	get := exec.CommandContext(ctx, "go", "mod", "download", "-json", module) //nolint:gosec // one of the two above
	out, err := get.Output()
	var m struct{ Dir, Version, Error string }
	if jsonErr := json.Unmarshal(out, &m); jsonErr == nil && m.Error != "" {
		return "", "", errors.New(m.Error)
	}
	if err != nil || m.Dir == "" {
		return "", "", fmt.Errorf("downloading %s: %w", module, err)
	}
	return m.Dir, m.Version, nil
}

// madeAt reads the time in a pseudo-version.
func madeAt(version string) (time.Time, error) {
	parts := strings.Split(version, "-")
	if len(parts) != 3 {
		return time.Time{}, fmt.Errorf("%s@%s has no date", mirror, version)
	}
	return time.Parse("20060102150405", parts[1])
}

// Vulnerability is one that was found.
type Vulnerability struct {
	ID, Summary     string
	Module, Version string // what has it
	Fixed           string // the version without it, "" when there is none yet
	Called          string // where our code comes to it; "" when it doesn't
}

// Scan asks a database about all of the repository's code. env is what the scan is to have in its environment besides.
func Scan(ctx context.Context, repo, url string, env ...string) ([]Vulnerability, error) {
	scan := exec.CommandContext(ctx, "go", "run", scanner, "-format", "json", "-db", url, "./...") //nolint:gosec // the database is one of ours
	scan.Dir, scan.Env = repo, append(scan.Environ(), env...)
	var out, said bytes.Buffer
	scan.Stdout, scan.Stderr = &out, &said
	if err := scan.Run(); err != nil {
		return nil, fmt.Errorf("govulncheck: %w\n%s", err, bytes.TrimSpace(said.Bytes()))
	}
	return read(&out)
}

// read takes in govulncheck's stream. Every finding is one way to a vulnerability; one that ends in a function is called.
func read(stream io.Reader) ([]Vulnerability, error) {
	summaries, found, scanned := map[string]string{}, map[string]*Vulnerability{}, false
	dec := json.NewDecoder(stream)
	for {
		var m struct {
			Config *struct{} `json:"config"`
			OSV    *struct {
				ID      string `json:"id"`
				Summary string `json:"summary"`
			} `json:"osv"`
			Finding *struct {
				OSV   string `json:"osv"`
				Fixed string `json:"fixed_version"`
				Trace []struct {
					Module   string `json:"module"`
					Version  string `json:"version"`
					Package  string `json:"package"`
					Function string `json:"function"`
				} `json:"trace"`
			} `json:"finding"`
		}
		err := dec.Decode(&m)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("reading what govulncheck said: %w", err)
		}
		scanned = scanned || m.Config != nil
		if m.OSV != nil {
			summaries[m.OSV.ID] = m.OSV.Summary
		}
		if m.Finding == nil || len(m.Finding.Trace) == 0 {
			continue
		}
		first, last := m.Finding.Trace[0], m.Finding.Trace[len(m.Finding.Trace)-1]
		v := found[m.Finding.OSV]
		if v == nil {
			v = &Vulnerability{ID: m.Finding.OSV, Module: first.Module, Version: first.Version, Fixed: m.Finding.Fixed}
			found[v.ID] = v
		}
		if first.Function != "" && v.Called == "" {
			v.Called = last.Package + "." + last.Function
		}
	}
	if !scanned {
		return nil, errors.New("govulncheck said nothing at all: that is no clean bill")
	}
	list := make([]Vulnerability, 0, len(found))
	for _, v := range found {
		v.Summary = summaries[v.ID]
		list = append(list, *v)
	}
	slices.SortFunc(list, func(a, b Vulnerability) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// Report tells of what was found. The error counts what our code calls.
func Report(out io.Writer, list []Vulnerability) error {
	called := 0
	for _, v := range list {
		how := "is required, and not called"
		if v.Called != "" {
			called++
			how = "is called from " + v.Called
		}
		fixed := "no version without it yet"
		if v.Fixed != "" {
			fixed = "fixed in " + v.Fixed
		}
		_, _ = fmt.Fprintf(out, "%s %s\n  %s %s %s; %s\n", v.ID, v.Summary, v.Module, v.Version, how, fixed)
	}
	if called > 0 {
		return fmt.Errorf("%d known vulnerabilities are called: update what has them", called)
	}
	_, _ = fmt.Fprintf(out, "no known vulnerability is called; %d are in what is required\n", len(list))
	return nil
}
