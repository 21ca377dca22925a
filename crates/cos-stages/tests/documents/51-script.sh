#!/bin/sh -e
# User-data of many clouds is nothing but this.
apt-get update
apt-get install -y nginx
systemctl enable --now nginx
