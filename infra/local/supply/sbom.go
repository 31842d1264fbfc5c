package supply

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/hex"
	"fmt"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/CycloneDX/cyclonedx-go"
	"github.com/google/uuid"
)

// SBOM is the bill of materials of a built handler, in CycloneDX's JSON. It is read from the binary, so that it says what was
// linked and not what was meant to be, and depends on nothing else: the same binary gives the same bytes.
func SBOM(binary string, modules []Module) ([]byte, error) {
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("reading what %s is made of: %w", binary, err)
	}
	raw, err := os.ReadFile(binary) //nolint:gosec // what was just built
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", binary, err)
	}
	licences := make(map[string]string, len(modules))
	for _, m := range modules {
		if licences[m.Path], err = m.Licence(); err != nil {
			return nil, err
		}
	}
	sum := sha256.Sum256(raw)
	return bill(info, sum, licences)
}

func bill(info *debug.BuildInfo, sum [sha256.Size]byte, licences map[string]string) ([]byte, error) {
	self := component(cyclonedx.ComponentTypeApplication, info.Main.Path, "", "golang", "MIT")
	self.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(sum[:])}}
	self.Properties = properties(info)
	std := component(cyclonedx.ComponentTypeLibrary, "std", strings.TrimPrefix(info.GoVersion, "go"), "golang", "BSD-3-Clause")
	parts := []cyclonedx.Component{std}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			dep = dep.Replace
		}
		licence, ok := licences[dep.Path]
		if !ok {
			return nil, fmt.Errorf("%s is in the binary and not in the list of its modules: was it built from another tree?", dep.Path)
		}
		part := component(cyclonedx.ComponentTypeLibrary, dep.Path, dep.Version, "golang", licence)
		// go.sum's own digest (h1: SHA-256 over the module's files) is that of no single file, so it is no hash of CycloneDX's.
		if dep.Sum != "" {
			part.Properties = &[]cyclonedx.Property{{Name: "golang:go.sum", Value: dep.Sum}}
		}
		parts = append(parts, part)
	}
	for _, f := range bundled {
		parts = append(parts, component(cyclonedx.ComponentTypeLibrary, f.Name, f.Version, f.Type, f.Licence))
	}
	slices.SortFunc(parts, func(a, b cyclonedx.Component) int { return strings.Compare(a.BOMRef, b.BOMRef) })
	refs := make([]string, len(parts))
	for i := range parts {
		refs[i] = parts[i].BOMRef
	}

	doc := cyclonedx.NewBOM()
	// Of the binary's digest, so that two builds of one tree are one document.
	doc.SerialNumber = uuid.NewHash(sha256.New(), uuid.NameSpaceOID, sum[:], 8).URN()
	doc.Metadata = &cyclonedx.Metadata{Component: &self}
	doc.Components = &parts
	doc.Dependencies = &[]cyclonedx.Dependency{{Ref: self.BOMRef, Dependencies: &refs}}
	var out bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).Encode(doc); err != nil {
		return nil, fmt.Errorf("writing the bill of materials: %w", err)
	}
	return out.Bytes(), nil
}

func component(kind cyclonedx.ComponentType, name, version, of, licence string) cyclonedx.Component {
	url := "pkg:" + of + "/" + name
	if version != "" {
		url += "@" + version
	}
	return cyclonedx.Component{
		BOMRef: url, Type: kind, Name: name, Version: version, PackageURL: url,
		Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: licence}}},
	}
}

// properties are how the binary was built, without the times and places that differ from build to build.
func properties(info *debug.BuildInfo) *[]cyclonedx.Property {
	list := []cyclonedx.Property{{Name: "golang:version", Value: info.GoVersion}}
	for _, s := range info.Settings {
		switch s.Key {
		case "GOOS", "GOARCH", "CGO_ENABLED", "-trimpath", "vcs.revision", "vcs.modified":
			list = append(list, cyclonedx.Property{Name: "golang:" + s.Key, Value: s.Value})
		}
	}
	return &list
}
