package main

import (
	"bytes"
	"context"
	_ "embed" // the page
	"fmt"
	"html/template"
	"os"
	"path/filepath"
	"strings"
	"time"
)

//go:embed page.html
var pageHTML string

// page writes index.html, and beside it source.html: all code, with what was not executed in red.
func (r *run) page(ctx context.Context, p *profile, t totals) (string, error) {
	text, index := p.text()
	file := filepath.Join(r.out, "profile.txt")
	if err := os.WriteFile(file, text, 0o600); err != nil { //nolint:gosec // in the folder that the caller named
		return "", fmt.Errorf("writing what was executed: %w", err)
	}
	if _, err := r.ask(ctx, "tool", "cover", "-html="+file, "-o="+filepath.Join(r.out, "source.html")); err != nil {
		return "", err
	}
	parsed, err := template.New("page").Funcs(template.FuncMap{
		"short":  func(name string) string { return strings.TrimPrefix(name, r.module+"/") },
		"source": func(file string) string { return fmt.Sprintf("source.html#file%d", index[file]) },
		"bad":    func(percent float64) bool { return percent < r.least },
	}).Parse(pageHTML)
	if err != nil {
		return "", fmt.Errorf("the page: %w", err)
	}
	var page bytes.Buffer
	if err := parsed.Execute(&page, map[string]any{"All": t.count, "Packages": t.Packages, "Least": r.least, "Roots": roots, "At": time.Now().UTC()}); err != nil {
		return "", fmt.Errorf("the page: %w", err)
	}
	name := filepath.Join(r.out, "index.html")
	if err := os.WriteFile(name, page.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("the page: %w", err)
	}
	return name, nil
}
