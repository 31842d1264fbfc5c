package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
)

// pageQuery asks GraphQL for what a page of REST's list has.
const pageQuery = `query Page($first: Int) { products(first: $first) { edges { node { id sku name description category price { amount currency } isAvailable images } } pageInfo { hasNextPage endCursor } } }`

// firstPage reads the first page of all products over REST.
func firstPage(w *worker) {
	w.kind = listProducts
	w.request = append(w.request[:0], "GET /api/v1/products?pageSize=20"...)
	w.continueWith(w.rand.IntN(w.customers.count))
	w.request = append(w.request, "\r\n"...)
}

// pageByHash asks for the same over GraphQL, by the document's hash.
func pageByHash(w *worker) {
	w.kind = listProducts
	body := persistedPage("")
	w.request = append(w.request[:0], "POST /graphql"...)
	w.continueWith(w.rand.IntN(w.customers.count))
	w.request = append(w.request, "Content-Type: application/json\r\nContent-Length: "...)
	w.request = strconv.AppendInt(w.request, int64(len(body)), 10)
	w.request = append(append(w.request, "\r\n\r\n"...), body...)
}

// persistedPage is the request's body; member is what comes before its other members.
func persistedPage(member string) string {
	sum := sha256.Sum256([]byte(pageQuery))
	return `{` + member + `"variables":{"first":20},"extensions":{"persistedQuery":{"version":1,"sha256Hash":"` + hex.EncodeToString(sum[:]) + `"}}}`
}

// graphql measures pages by hash, once the handler knows the hash.
func (b *bench) graphql(ctx context.Context) (result, error) {
	s := b.direct
	body := persistedPage(`"query":` + strconv.Quote(pageQuery) + `,`)
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.address+"/graphql", bytes.NewReader([]byte(body)))
	if err != nil {
		return result{}, fmt.Errorf("registering the document: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+string(s.customers.token(0)))
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return result{}, fmt.Errorf("registering the document: %w", err)
	}
	answer, err := io.ReadAll(res.Body)
	_ = res.Body.Close() // read to its end
	if err != nil || res.StatusCode != http.StatusOK {
		return result{}, fmt.Errorf("registering the document: %d %.200s %w", res.StatusCode, answer, err)
	}
	if err := s.during(ctx, busy); err != nil {
		return result{}, err
	}
	return closed(ctx, s.target(), b.connections, b.duration, pageByHash)
}
