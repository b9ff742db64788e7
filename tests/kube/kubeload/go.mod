module example.invalid/kedge-test-kubeload

go 1.21
