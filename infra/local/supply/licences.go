package supply

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// allowed are the licences that may be linked into the handler: all let it be run as a service without publishing its
// source. MPL-2.0 asks that changes to the module's own files be published; none are made.
var allowed = []string{"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "ISC", "MPL-2.0", "Unlicense", "0BSD"}

// marks tell a licence by words that it has and its neighbours don't, after all that is no letter has become one blank. The
// first that fits counts.
var marks = []struct {
	id    string
	words []string
	not   string
}{
	{id: "AGPL-3.0", words: []string{"gnu affero general public license"}},
	{id: "LGPL", words: []string{"gnu lesser general public license", "this version of the gnu lesser"}},
	{id: "GPL", words: []string{"gnu general public license", "terms and conditions"}},
	{id: "MPL-2.0", words: []string{"mozilla public license version 2 0"}},
	{id: "Apache-2.0", words: []string{"apache license version 2 0"}},
	{id: "BSD-3-Clause", words: []string{"redistributions of source code must retain", "redistributions in binary form must reproduce", "endorse or promote products derived from"}},
	{id: "BSD-2-Clause", words: []string{"redistributions of source code must retain", "redistributions in binary form must reproduce"}, not: "endorse or promote"},
	{id: "MIT", words: []string{"permission is hereby granted free of charge to any person obtaining a copy", "the above copyright notice and this permission notice shall be included"}},
	{id: "ISC", words: []string{"permission to use copy modify and or distribute this software for any purpose", "provided that the above copyright notice"}},
	{id: "0BSD", words: []string{"permission to use copy modify and or distribute this software for any purpose"}},
	{id: "Unlicense", words: []string{"this is free and unencumbered software released into the public domain"}},
}

// classify says which licence a text is, as SPDX calls it; "" when it is none that is known here.
func classify(text string) string {
	plain := strings.Join(strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= '0' && r <= '9')
	}), " ")
	for _, m := range marks {
		missing := slices.ContainsFunc(m.words, func(w string) bool { return !strings.Contains(plain, w) })
		if !missing && (m.not == "" || !strings.Contains(plain, m.not)) {
			return m.id
		}
	}
	return ""
}

// Licence is what a module's own licence file says. A module without one that is known and allowed is an error: somebody has
// to look at it before it is shipped.
func (m Module) Licence() (string, error) {
	entries, err := os.ReadDir(m.Dir)
	if err != nil {
		return "", fmt.Errorf("looking for the licence of %s: %w", m.Path, err)
	}
	for _, entry := range entries {
		name := strings.ToUpper(entry.Name())
		if entry.IsDir() || !strings.HasPrefix(name, "LICENSE") && !strings.HasPrefix(name, "LICENCE") && !strings.HasPrefix(name, "COPYING") {
			continue
		}
		text, err := os.ReadFile(filepath.Join(m.Dir, entry.Name()))
		if err != nil {
			return "", fmt.Errorf("reading the licence of %s: %w", m.Path, err)
		}
		switch id := classify(string(text)); {
		case id == "":
			continue
		case !slices.Contains(allowed, id):
			return "", fmt.Errorf("%s is under %s, which may not be linked into the handler: use another module", m.Path, id)
		default:
			return id, nil
		}
	}
	return "", fmt.Errorf("%s (in %s) has no licence file that is known here: read what it says, and teach infra/local/supply/licences.go", m.Path, m.Dir)
}

// bundled is what is in the handler and no Go module.
var bundled = []struct{ Name, Version, Licence, Type string }{
	{"swagger-ui-dist", "5.35.0", "Apache-2.0", "npm"},
}

// Licences is docs/licences.md.
func Licences(modules []Module) (string, error) {
	var b strings.Builder
	b.WriteString(`# Licences

What is in the handler that others wrote, made by ` + "`make licences`" + ` from the build and the licence files of its modules. A
test fails when this page is not current, or when something is linked that may not be. The same list, with checksums, travels
with the package as ` + "`dist/sbom.cdx.json`" + `.

| what | version | licence |
|---|---|---|
`)
	for _, m := range modules {
		id, err := m.Licence()
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", m.Path, m.Version, id)
	}
	b.WriteString("| Go's standard library | that of the build | BSD-3-Clause |\n")
	for _, f := range bundled {
		fmt.Fprintf(&b, "| %s (%s) | %s | %s |\n", f.Name, f.Type, f.Version, f.Licence)
	}
	return b.String(), nil
}
