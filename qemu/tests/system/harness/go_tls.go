// Go's crypto/tls: a client that comes back, or a server of pages.
//
//	go_tls client PORT AUTHORITY [GROUP...]
//	    Asks localhost twice for a page, the second time with the session of the first.
//	    Prints the line below and the answer of each.
//	go_tls server PORT CHAIN KEY [GROUP...]
//	    Answers each request with a page of that line.
//
// The line is "go VERSION group NAME retried BOOL resumed BOOL". Groups are those that are
// offered or accepted; without any, Go's own.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"time"
)

const (
	request  = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
	patience = 60 * time.Second
)

func main() {
	role, port := os.Args[1], os.Args[2]
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	address := net.JoinHostPort("127.0.0.1", port)
	var err error
	if role == "client" {
		config.CurvePreferences = groups(os.Args[4:])
		err = client(address, os.Args[3], config)
	} else {
		config.CurvePreferences = groups(os.Args[5:])
		err = server(address, os.Args[3], os.Args[4], config)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

func groups(names []string) (found []tls.CurveID) {
	known := []tls.CurveID{
		tls.X25519MLKEM768, tls.SecP256r1MLKEM768, tls.SecP384r1MLKEM1024,
		tls.X25519, tls.CurveP256, tls.CurveP384,
	}
	for _, name := range names {
		for _, group := range known {
			if group.String() == name {
				found = append(found, group)
			}
		}
	}
	if len(found) != len(names) {
		panic(fmt.Sprint("groups: ", names))
	}
	return found
}

func line(state tls.ConnectionState) string {
	return fmt.Sprintf("%s group %s retried %t resumed %t\n",
		runtime.Version(), state.CurveID, state.HelloRetryRequest, state.DidResume)
}

func client(address, authority string, config *tls.Config) error {
	pem, err := os.ReadFile(authority)
	if err != nil {
		return err
	}
	config.RootCAs = x509.NewCertPool()
	config.RootCAs.AppendCertsFromPEM(pem)
	config.ServerName = "localhost"
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	dialer := &net.Dialer{Timeout: patience}
	for range 2 {
		connection, err := tls.DialWithDialer(dialer, "tcp", address, config)
		if err != nil {
			return err
		}
		connection.SetDeadline(time.Now().Add(patience))
		if _, err := io.WriteString(connection, request); err != nil {
			return err
		}
		if err := connection.CloseWrite(); err != nil {
			return err
		}
		answer, err := io.ReadAll(connection)
		if err != nil {
			return err
		}
		fmt.Print(line(connection.ConnectionState()), string(answer), "\n")
		connection.Close()
	}
	return nil
}

func server(address, chain, key string, config *tls.Config) error {
	certificate, err := tls.LoadX509KeyPair(chain, key)
	if err != nil {
		return err
	}
	config.Certificates = []tls.Certificate{certificate}
	listener, err := tls.Listen("tcp", address, config)
	if err != nil {
		return err
	}
	for {
		connection, err := listener.Accept()
		if err != nil {
			return err
		}
		go answer(connection.(*tls.Conn))
	}
}

func answer(connection *tls.Conn) {
	defer connection.Close()
	connection.SetDeadline(time.Now().Add(patience))
	asked := make([]byte, len(request))
	if _, err := connection.Read(asked); err != nil {
		fmt.Println(err)
		return
	}
	body := line(connection.ConnectionState())
	fmt.Fprintf(connection, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		len(body), body)
}
