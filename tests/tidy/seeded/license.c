int license;
