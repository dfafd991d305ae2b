module tools

go 1.24.0

require (
	github.com/prometheus-operator/prometheus-operator v0.74.0
	sigs.k8s.io/gateway-api v1.4.0
)
